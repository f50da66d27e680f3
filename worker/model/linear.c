/* linear.c - y = activation(x W^T + b) on fp32 rows, and its gradients. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/linear.h"

#include <stdio.h>

void linear_init(struct linear *linear, const struct team *team, const char *name, int in, int out,
                 int has_bias)
{
    char full[112];
    *linear = (struct linear){.team = team, .in = in, .out = out};
    snprintf(full, sizeof(full), "%s.weight", name);
    linear->weight = state_parameter(team->state, full);
    snprintf(full, sizeof(full), "%s.bias", name);
    if (has_bias)
        linear->bias = state_parameter(team->state, full);
}

void linear_forward(const struct linear *linear, const float *x, enum activation activation,
                    float *y)
{
    const struct team *team = linear->team;
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        const int rows = rows_of_part(&team->rows, p.resolution);
        const size_t first = rows_before(&team->rows, p);
        float *out = y + first * (size_t)linear->out;
        team->ops->gemm(team->device, 0, 1, rows, linear->out, linear->in, 1,
                        x + first * (size_t)linear->in, linear->weight.value, 0, out);
        if (linear->bias.length > 0 || activation != ACTIVATION_NONE)
            team->ops->bias_activation(team->device, out, linear->bias.value, rows, linear->out,
                                       activation, out);
    }
}

/* The bias first: the gradient of one tensor at a time (team_gradient). */
static void piece_backward(const struct linear *linear, struct piece piece, const float *x,
                           const float *y, enum activation activation, float *dy)
{
    const struct team *team = linear->team;
    const int rows = rows_of_part(&team->rows, piece.resolution);
    const int is_first = rows_before(&team->rows, piece) == 0;
    const int adds = team_accumulates(team, is_first);
    const int has_bias = linear->bias.length > 0;
    if (has_bias || activation != ACTIVATION_NONE)
        team->ops->bias_activation_backward(team->device, dy, y, rows, linear->out, activation, dy,
                                            has_bias ? team_gradient(team, &linear->bias) : NULL,
                                            adds);
    if (has_bias)
        team_gradient_written(team, &linear->bias, is_first);
    team->ops->gemm(team->device, 1, 0, linear->out, linear->in, rows, 1, dy, x, adds ? 1 : 0,
                    team_gradient(team, &linear->weight));
    team_gradient_written(team, &linear->weight, is_first);
}

void linear_backward(const struct linear *linear, const float *x, const float *y,
                     enum activation activation, float *dy)
{
    const struct rows *rows = &linear->team->rows;
    for (struct piece p = {0}; rows_has(rows, p); p = rows_after(rows, p)) {
        const size_t first = rows_before(rows, p), out = first * (size_t)linear->out;
        piece_backward(linear, p, x + first * (size_t)linear->in, y == NULL ? NULL : y + out,
                       activation, dy + out);
    }
}

static void input_gradient(const struct linear *linear, const float *dy, const int *divisor,
                           float beta, float *dx)
{
    const struct team *team = linear->team;
    for (struct piece p = {0}; rows_has(&team->rows, p); p = rows_after(&team->rows, p)) {
        const size_t first = rows_before(&team->rows, p);
        const float factor = divisor == NULL ? 1.0f : 1.0f / (float)divisor[p.resolution];
        team->ops->gemm(team->device, 0, 0, rows_of_part(&team->rows, p.resolution), linear->in,
                        linear->out, factor, dy + first * (size_t)linear->out, linear->weight.value,
                        beta, dx + first * (size_t)linear->in);
    }
}

void linear_backward_input(const struct linear *linear, const float *dy, const int *divisor,
                           float *dx)
{
    input_gradient(linear, dy, divisor, 0, dx);
}

void linear_backward_input_add(const struct linear *linear, const float *dy, float *dx)
{
    input_gradient(linear, dy, NULL, 1, dx);
}
