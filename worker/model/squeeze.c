/* squeeze.c - squeeze-and-excitation: two small layers turn a row's channel means into the scale of
 * its channels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/squeeze.h"

void squeeze_init(struct squeeze *squeeze, struct team *team, const struct squeeze_place *place)
{
    const int channels = place->channels, hidden = place->hidden;
    const size_t rows = (size_t)rows_total(&team->rows);
    const size_t wide = rows * (size_t)channels, narrow = rows * (size_t)hidden;
    *squeeze = (struct squeeze){.team = team};
    linear_init(&squeeze->reduce, team, place->reduce, channels, hidden, 1);
    linear_init(&squeeze->expand, team, place->expand, hidden, channels, 1);
    squeeze->pooled = arena_floats(&team->arena, wide);
    squeeze->scale = arena_floats(&team->arena, wide);
    squeeze->hidden = arena_floats(&team->arena, narrow);
    if (!team->is_training)
        return;
    squeeze->scale_grad = arena_floats(&team->arena, wide);
    squeeze->pixel_grad = arena_floats(&team->arena, wide);
    squeeze->hidden_grad = arena_floats(&team->arena, narrow);
}

float *squeeze_part(const struct squeeze *squeeze, float *array, int resolution)
{
    const size_t first = (size_t)rows_first(&squeeze->team->rows, resolution);
    return array + first * (size_t)squeeze->reduce.in;
}

void squeeze_forward(struct squeeze *squeeze)
{
    linear_forward(&squeeze->reduce, squeeze->pooled, ACTIVATION_RELU, squeeze->hidden);
    linear_forward(&squeeze->expand, squeeze->hidden, ACTIVATION_SIGMOID, squeeze->scale);
}

void squeeze_backward(struct squeeze *squeeze, const int *pixels)
{
    linear_backward(&squeeze->expand, squeeze->hidden, squeeze->scale, ACTIVATION_SIGMOID,
                    squeeze->scale_grad);
    linear_backward_input(&squeeze->expand, squeeze->scale_grad, NULL, squeeze->hidden_grad);
    linear_backward(&squeeze->reduce, squeeze->pooled, squeeze->hidden, ACTIVATION_RELU,
                    squeeze->hidden_grad);
    linear_backward_input(&squeeze->reduce, squeeze->hidden_grad, pixels, squeeze->pixel_grad);
}
