/* pointwise.c - where convolutions are products of pixels on our own kernels, what they take. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/pointwise.h"

/* Weights leave room for pixels in an L2 cache of 1 MiB; values come in half vectors. A patch is
 * worth laying out if it is small. */
enum { HALF = 8, WEIGHTS_MAX = 200 * 1024, PATCH_MAX = 160 };

int pointwise_inputs(const struct own_conv *conv)
{
    const int values = conv->kernel * conv->kernel * conv->channels;
    return (values + HALF - 1) / HALF * HALF;
}

int pointwise_is_plain(const struct own_conv *conv)
{
    return conv->kernel == 1 && conv->stride == 1;
}

static int is_suited(const struct own_conv *conv)
{
    const int inputs = pointwise_inputs(conv);
    const int is_stem = inputs <= PATCH_MAX && !conv->needs_input_gradient;
    const int is_pixel = conv->kernel == 1 && conv->channels == inputs;
    return conv->group == conv->channels && (is_pixel || is_stem) &&
           conv->out_channels % HALF == 0 && inputs * conv->out_channels <= WEIGHTS_MAX &&
           conv->out_height * conv->out_width >= POINTWISE_PIXELS;
}

static size_t weight_bytes(const struct own_conv *conv)
{
    return (size_t)pointwise_inputs(conv) * (size_t)conv->out_channels * sizeof(float);
}

static size_t scratch_bytes(const struct own_conv *conv)
{
    const size_t values = (size_t)POINTWISE_BLOCK * (size_t)pointwise_inputs(conv);
    return pointwise_is_plain(conv) ? 0 : values * sizeof(float);
}

/* The weight gradient as the products leave it, where that is not the master layout. */
static size_t sums_bytes(const struct own_conv *conv)
{
    return conv->kernel == 1 ? 0 : weight_bytes(conv);
}

const struct own_conv_method pointwise_method = {
    .threads_max = 1,
    .is_suited = is_suited,
    .weight_bytes = weight_bytes,
    .scratch_bytes = scratch_bytes,
    .is_gradient_banded = 1,
    .sums_bytes = sums_bytes,
};
