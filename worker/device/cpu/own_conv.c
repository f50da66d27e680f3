/* own_conv.c - the geometry of a convolution on our own kernels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/own_conv.h"

void own_conv_init(struct own_conv *conv, const struct conv_shape *shape, int is_bf16)
{
    *conv = (struct own_conv){
        .rows = shape->rows,
        .height = shape->height,
        .width = shape->width,
        .out_height = (shape->height + shape->stride - 1) / shape->stride,
        .out_width = (shape->width + shape->stride - 1) / shape->stride,
        .stride = shape->stride,
        .channels = shape->in_channels,
        .out_channels = shape->out_channels,
        .kernel = shape->kernel,
        .group = shape->in_channels / shape->groups,
        .is_bf16 = is_bf16,
        .needs_input_gradient = shape->needs_input_gradient,
    };
}

int own_conv_is_3x3(const struct own_conv *conv)
{
    return conv->kernel == 3 && conv->channels == conv->out_channels;
}
