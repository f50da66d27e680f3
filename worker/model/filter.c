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

static void *part_of(const struct filter *filter, const void *x, const size_t *values,
                     struct piece piece)
{
    return team_offset(filter->team, x, (size_t)piece.part * values[piece.resolution]);
}

void filter_forward(const struct filter *filter, struct piece piece, const void *x, void *y)
{
    filter->team->ops->conv_forward(filter->conv[piece.resolution],
                                    part_of(filter, x, filter->in_values, piece),
                                    part_of(filter, y, filter->out_values, piece));
}

void filter_backward_data(const struct filter *filter, struct piece piece, const void *dy, void *dx)
{
    filter->team->ops->conv_backward_data(filter->conv[piece.resolution],
                                          part_of(filter, dy, filter->out_values, piece),
                                          part_of(filter, dx, filter->in_values, piece));
}

static int is_first(struct piece piece)
{
    return piece.resolution == 0 && piece.part == 0;
}

void filter_backward_weights(const struct filter *filter, struct piece piece, const void *x,
                             const void *dy)
{
    const struct team *team = filter->team;
    team->ops->conv_backward_weights(
        filter->conv[piece.resolution], part_of(filter, x, filter->in_values, piece),
        part_of(filter, dy, filter->out_values, piece), team_gradient(team, &filter->weight),
        team_accumulates(team, is_first(piece)));
}

void filter_gradient_written(const struct filter *filter, struct piece piece)
{
    team_gradient_written(filter->team, &filter->weight, is_first(piece));
}
