/* linear.h - y = activation(x W^T + b) on fp32 rows, and its gradients. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_LINEAR_H
#define WORKER_MODEL_LINEAR_H

#include "worker/model/team.h"

struct linear {
    const struct team *team; /* borrowed */
    int in, out;
    struct parameter weight, bias; /* [out][in], [out] */
};

/* Tensors NAME.weight and NAME.bias. */
void linear_init(struct linear *linear, const struct team *team, const char *name, int in, int out);
/* x [rows][in] -> y [rows][out]. */
void linear_forward(const struct linear *linear, const float *x, int rows,
                    enum activation activation, float *y);
/* dy becomes the gradient before the activation, and from it come those of weight and bias. y: the
 * forward output, NULL without activation. */
void linear_backward(const struct linear *linear, const float *x, const float *y, int rows,
                     enum activation activation, float *dy);
/* dx [rows][in] = factor * dy W, dy as linear_backward left it. */
void linear_backward_input(const struct linear *linear, const float *dy, int rows, float factor,
                           float *dx);

#endif
