/* conv3.h - 3x3 convolutions in groups that run on our own kernels, and the methods there are. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_CONV3_H
#define WORKER_DEVICE_CPU_CONV3_H

#include <stddef.h>

#include "worker/device/device.h"

struct conv3 {
    int rows, height, width, out_height, out_width, channels, stride;
    int group; /* channels of one */
    int is_bf16;
    /* As the method wants them for the forward pass and the data gradient; the owner's memory,
     * weight_bytes each. */
    void *forward, *transposed;
};

/* The kernels of a method for one instruction set; x, y and their gradients are activations, nhwc,
 * dw is [channels][group][3][3]. scratch: scratch_bytes, of any content. */
struct conv3_ops {
    /* From the master layout, that of dw, to what follows. */
    void (*weights)(struct conv3 *conv, const float *weights);
    void (*forward)(const struct conv3 *conv, float *scratch, const void *x, void *y);
    void (*backward_data)(const struct conv3 *conv, float *scratch, const void *dy, void *dx);
    void (*backward_weights)(const struct conv3 *conv, float *scratch, const void *x,
                             const void *dy, float *dw, int accumulate);
};

struct conv3_method {
    int threads_max; /* its kernels run on one thread; oneDNN is faster on more than this many */
    int (*is_suited)(const struct conv3 *conv);
    size_t (*weight_bytes)(const struct conv3 *conv);
    size_t (*scratch_bytes)(const struct conv3 *conv);
};

extern const struct conv3_method group8_method, winograd_method, direct_method;

/* All but the weights' memory; 0: no 3x3 convolution with as many outputs as inputs. */
int conv3_init(struct conv3 *conv, const struct conv_shape *shape, int is_bf16);

#endif
