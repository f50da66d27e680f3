/* own_conv.h - convolutions that run on our own kernels, and the methods there are. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_OWN_CONV_H
#define WORKER_DEVICE_CPU_OWN_CONV_H

#include <stddef.h>

#include "worker/device/device.h"

struct own_conv {
    int rows, height, width, out_height, out_width, stride;
    int channels, out_channels; /* of the input and of the output */
    int kernel;
    int group; /* input channels of one */
    int is_bf16, needs_input_gradient;
    /* As the method wants them for the forward pass and the data gradient; the owner's memory,
     * weight_bytes each. */
    void *forward, *transposed;
    /* What backward_weights keeps from band to band; sums_bytes. */
    void *sums;
};

/* Where a weight gradient goes, which may come in bands of rows, all called in order. */
struct own_gradient {
    float *dw;             /* of all bands; written by the last, or by any */
    int accumulate;        /* is added to what dw was before the first */
    int is_first, is_last; /* band */
};

/* The kernels of a method for one instruction set; x, y and their gradients are activations, nhwc,
 * dw is [out_channels][group][kernel][kernel]. scratch: scratch_bytes, of any content. */
struct own_conv_ops {
    /* From the master layout, that of dw, to what follows. */
    void (*weights)(struct own_conv *conv, const float *weights);
    void (*forward)(const struct own_conv *conv, float *scratch, const void *x, void *y);
    void (*backward_data)(const struct own_conv *conv, float *scratch, const void *dy, void *dx);
    void (*backward_weights)(const struct own_conv *conv, float *scratch, const void *x,
                             const void *dy, const struct own_gradient *gradient);
};

struct own_conv_method {
    int threads_max; /* its kernels run on one thread; oneDNN is faster on more than this many */
    int (*is_suited)(const struct own_conv *conv);
    size_t (*weight_bytes)(const struct own_conv *conv);
    size_t (*scratch_bytes)(const struct own_conv *conv);
    int is_gradient_banded;                            /* 0: a weight gradient comes as one band */
    size_t (*sums_bytes)(const struct own_conv *conv); /* NULL: 0 */
};

extern const struct own_conv_method group8_method, winograd_method, direct_method, pointwise_method;

/* All but the weights' memory. */
void own_conv_init(struct own_conv *conv, const struct conv_shape *shape, int is_bf16);
/* Is it 3x3, with as many outputs as inputs? */
int own_conv_is_3x3(const struct own_conv *conv);

#endif
