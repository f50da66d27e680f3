/* conv3.c - the geometry of a 3x3 convolution in groups. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/conv3.h"

int conv3_init(struct conv3 *conv, const struct conv_shape *shape, int is_bf16)
{
    *conv = (struct conv3){
        .rows = shape->rows,
        .height = shape->height,
        .width = shape->width,
        .out_height = (shape->height + shape->stride - 1) / shape->stride,
        .out_width = (shape->width + shape->stride - 1) / shape->stride,
        .channels = shape->in_channels,
        .stride = shape->stride,
        .group = shape->in_channels / shape->groups,
        .is_bf16 = is_bf16,
    };
    return shape->kernel == 3 && shape->in_channels == shape->out_channels;
}
