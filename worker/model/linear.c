/* linear.c - y = activation(x W^T + b) on fp32 rows, and its gradients. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/linear.h"

#include <stdio.h>

void linear_init(struct linear *linear, const struct team *team, const char *name, int in, int out)
{
    char full[112];
    *linear = (struct linear){.team = team, .in = in, .out = out};
    snprintf(full, sizeof(full), "%s.weight", name);
    linear->weight = state_parameter(team->state, full);
    snprintf(full, sizeof(full), "%s.bias", name);
    linear->bias = state_parameter(team->state, full);
}

void linear_forward(const struct linear *linear, const float *x, int rows,
                    enum activation activation, float *y)
{
    const struct team *team = linear->team;
    team->ops->gemm(team->device, 0, 1, rows, linear->out, linear->in, 1, x, linear->weight.value,
                    0, y);
    team->ops->bias_activation(team->device, y, linear->bias.value, rows, linear->out, activation,
                               y);
}

void linear_backward(const struct linear *linear, const float *x, const float *y, int rows,
                     enum activation activation, float *dy)
{
    const struct team *team = linear->team;
    team->ops->bias_activation_backward(team->device, dy, y, rows, linear->out, activation, dy,
                                        linear->bias.grad, 0);
    team->ops->gemm(team->device, 1, 0, linear->out, linear->in, rows, 1, dy, x, 0,
                    linear->weight.grad);
}

void linear_backward_input(const struct linear *linear, const float *dy, int rows, float factor,
                           float *dx)
{
    const struct team *team = linear->team;
    team->ops->gemm(team->device, 0, 0, rows, linear->in, linear->out, factor, dy,
                    linear->weight.value, 0, dx);
}
