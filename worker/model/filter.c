/* filter.c - a convolution at every resolution: the same weights, other shapes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/filter.h"

#include <stdio.h>

enum status filter_init(struct filter *filter, const struct team *team, const char *name,
                        const struct conv_shape *shape, const int *side)
{
    char full[112];
    snprintf(full, sizeof(full), "%s.weight", name);
    *filter = (struct filter){.team = team, .weight = state_parameter(team->state, full)};
    for (int r = 0; r < team->rows.resolution_count; r++) {
        struct conv_shape at = *shape;
        at.rows = rows_count(&team->rows, r);
        at.height = at.width = side[r];
        TRY(team->ops->conv_create(team->device, &at, &filter->conv[r]));
    }
    return OK;
}

void filter_done(struct filter *filter)
{
    for (int r = 0; r < CONFIG_CROPS_MAX; r++)
        if (filter->conv[r] != NULL)
            filter->team->ops->conv_destroy(filter->conv[r]);
}

void filter_load_weights(const struct filter *filter)
{
    for (int r = 0; r < filter->team->rows.resolution_count; r++)
        filter->team->ops->conv_weights(filter->conv[r], filter->weight.value);
}

void filter_forward(const struct filter *filter, int resolution, const void *x, void *y)
{
    filter->team->ops->conv_forward(filter->conv[resolution], x, y);
}

void filter_backward_data(const struct filter *filter, int resolution, const void *dy, void *dx)
{
    filter->team->ops->conv_backward_data(filter->conv[resolution], dy, dx);
}

void filter_backward_weights(const struct filter *filter, int resolution, const void *x,
                             const void *dy)
{
    filter->team->ops->conv_backward_weights(filter->conv[resolution], x, dy, filter->weight.grad,
                                             resolution > 0);
}

int filter_side_after(int side, int stride)
{
    return (side + stride - 1) / stride;
}
