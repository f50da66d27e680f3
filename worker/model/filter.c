/* filter.c - a convolution at every resolution: the same weights, other shapes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/filter.h"

#include <stdio.h>

#include "common/architecture.h"

enum status filter_init(struct filter *filter, const struct team *team, const char *name,
                        const struct conv_shape *shape, const int *side)
{
    char full[112];
    snprintf(full, sizeof(full), "%s.weight", name);
    *filter = (struct filter){.team = team, .weight = state_parameter(team->state, full)};
    for (int r = 0; r < team->rows.resolution_count; r++) {
        struct conv_shape at = *shape;
        const size_t out_side = (size_t)architecture_side_after(side[r], shape->stride);
        at.rows = rows_of_part(&team->rows, r);
        at.height = at.width = side[r];
        filter->in_values[r] =
            (size_t)at.rows * (size_t)side[r] * (size_t)side[r] * (size_t)at.in_channels;
        filter->out_values[r] = (size_t)at.rows * out_side * out_side * (size_t)at.out_channels;
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

static void *part_of(const struct filter *filter, const void *x, size_t values, int part)
{
    return team_offset(filter->team, x, (size_t)part * values);
}

void filter_forward(const struct filter *filter, int resolution, const void *x, void *y)
{
    for (int part = 0; part < rows_parts(&filter->team->rows); part++)
        filter->team->ops->conv_forward(filter->conv[resolution],
                                        part_of(filter, x, filter->in_values[resolution], part),
                                        part_of(filter, y, filter->out_values[resolution], part));
}

void filter_backward_data(const struct filter *filter, int resolution, const void *dy, void *dx)
{
    for (int part = 0; part < rows_parts(&filter->team->rows); part++)
        filter->team->ops->conv_backward_data(
            filter->conv[resolution], part_of(filter, dy, filter->out_values[resolution], part),
            part_of(filter, dx, filter->in_values[resolution], part));
}

void filter_backward_weights(const struct filter *filter, int resolution, const void *x,
                             const void *dy)
{
    const struct team *team = filter->team;
    for (int part = 0; part < rows_parts(&team->rows); part++) {
        team->ops->conv_backward_weights(
            filter->conv[resolution], part_of(filter, x, filter->in_values[resolution], part),
            part_of(filter, dy, filter->out_values[resolution], part),
            team_gradient(team, &filter->weight), team_accumulates(team, resolution == 0));
        team_gradient_written(team, &filter->weight, resolution == 0 && part == 0);
    }
}
