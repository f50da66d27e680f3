/* linear.h - y = activation(x W^T + b) on fp32 rows, and its gradients. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_LINEAR_H
#define WORKER_MODEL_LINEAR_H

#include "worker/model/team.h"

struct linear {
    const struct team *team; /* borrowed */
    int in, out;
    struct parameter weight, bias; /* [out][in], [out]; no bias: length 0 */
};

/* Tensors NAME.weight and, if has_bias, NAME.bias. All rows of a step are rows of all resolutions
 * (rows_total). */
void linear_init(struct linear *linear, const struct team *team, const char *name, int in, int out,
                 int has_bias);
/* x [rows][in] -> y [rows][out]. */
void linear_forward(const struct linear *linear, const float *x, enum activation activation,
                    float *y);
/* dy becomes the gradient before the activation, and from it come those of weight and bias. y: the
 * forward output, NULL without activation. */
void linear_backward(const struct linear *linear, const float *x, const float *y,
                     enum activation activation, float *dy);
/* dx [rows][in] = dy W / divisor[resolution], dy as linear_backward left it. divisor NULL: 1. */
void linear_backward_input(const struct linear *linear, const float *dy, const int *divisor,
                           float *dx);
/* The same, added to what dx is, without a divisor. */
void linear_backward_input_add(const struct linear *linear, const float *dy, float *dx);

#endif
