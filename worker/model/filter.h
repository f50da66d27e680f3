/* filter.h - a convolution at every resolution: the same weights, other shapes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_FILTER_H
#define WORKER_MODEL_FILTER_H

#include "worker/model/team.h"

struct filter {
    const struct team *team; /* borrowed */
    struct parameter weight;
    struct conv *conv[CONFIG_CROPS_MAX]; /* of one part's rows; owned */
    size_t in_values[CONFIG_CROPS_MAX];  /* of one part */
    size_t out_values[CONFIG_CROPS_MAX];
};

/* Tensor NAME.weight. side: of the input by resolution; rows, height and width of shape are filled
 * in here. ERR_DEVICE. */
enum status filter_init(struct filter *filter, const struct team *team, const char *name,
                        const struct conv_shape *shape, const int *side);
void filter_done(struct filter *filter);
/* Once a step, before forward. */
void filter_load_weights(const struct filter *filter);
/* Of a piece; tensors are whole resolutions. */
void filter_forward(const struct filter *filter, struct piece piece, const void *x, void *y);
void filter_backward_data(const struct filter *filter, struct piece piece, const void *dy,
                          void *dx);
/* The first piece overwrites the weights' gradient, the others add to it: call them in order, and
 * filter_gradient_written after each, and not before rows_end. */
void filter_backward_weights(const struct filter *filter, struct piece piece, const void *x,
                             const void *dy);
void filter_gradient_written(const struct filter *filter, struct piece piece);

#endif
