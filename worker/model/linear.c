/* linear.c - y = activation(x W^T + b) on fp32 rows, and its gradients. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/linear.h"

#include <stdio.h>

/* Rows that are computed at once. */
struct piece {
    int resolution, rows;
    size_t first;
};

static int piece_count(const struct linear *linear)
{
    const struct rows *rows = &linear->team->rows;
    return rows->resolution_count * rows_parts(rows);
}

static struct piece piece_at(const struct linear *linear, int index)
{
    const struct rows *rows = &linear->team->rows;
    const int resolution = index / rows_parts(rows), part = index % rows_parts(rows);
    const int count = rows_of_part(rows, resolution);
    return (struct piece){
        .resolution = resolution,
        .rows = count,
        .first = (size_t)rows_first(rows, resolution) + (size_t)part * (size_t)count,
    };
}

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
    for (int i = 0; i < piece_count(linear); i++) {
        const struct piece piece = piece_at(linear, i);
        float *out = y + piece.first * (size_t)linear->out;
        team->ops->gemm(team->device, 0, 1, piece.rows, linear->out, linear->in, 1,
                        x + piece.first * (size_t)linear->in, linear->weight.value, 0, out);
        if (linear->bias.length > 0 || activation != ACTIVATION_NONE)
            team->ops->bias_activation(team->device, out, linear->bias.value, piece.rows,
                                       linear->out, activation, out);
    }
}

/* The bias first: the gradient of one tensor at a time (team_gradient). */
static void piece_backward(const struct linear *linear, const struct piece *piece, const float *x,
                           const float *y, enum activation activation, float *dy)
{
    const struct team *team = linear->team;
    const int is_first = piece->first == 0;
    const int adds = team_accumulates(team, is_first);
    const int has_bias = linear->bias.length > 0;
    if (has_bias || activation != ACTIVATION_NONE)
        team->ops->bias_activation_backward(
            team->device, dy, y, piece->rows, linear->out, activation, dy,
            has_bias ? team_gradient(team, &linear->bias) : NULL, adds);
    if (has_bias)
        team_gradient_written(team, &linear->bias, is_first);
    team->ops->gemm(team->device, 1, 0, linear->out, linear->in, piece->rows, 1, dy, x,
                    adds ? 1 : 0, team_gradient(team, &linear->weight));
    team_gradient_written(team, &linear->weight, is_first);
}

void linear_backward(const struct linear *linear, const float *x, const float *y,
                     enum activation activation, float *dy)
{
    for (int i = 0; i < piece_count(linear); i++) {
        const struct piece piece = piece_at(linear, i);
        const size_t out = piece.first * (size_t)linear->out;
        piece_backward(linear, &piece, x + piece.first * (size_t)linear->in,
                       y == NULL ? NULL : y + out, activation, dy + out);
    }
}

static void input_gradient(const struct linear *linear, const float *dy, const int *divisor,
                           float beta, float *dx)
{
    const struct team *team = linear->team;
    for (int i = 0; i < piece_count(linear); i++) {
        const struct piece piece = piece_at(linear, i);
        const float factor = divisor == NULL ? 1.0f : 1.0f / (float)divisor[piece.resolution];
        team->ops->gemm(team->device, 0, 0, piece.rows, linear->in, linear->out, factor,
                        dy + piece.first * (size_t)linear->out, linear->weight.value, beta,
                        dx + piece.first * (size_t)linear->in);
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
