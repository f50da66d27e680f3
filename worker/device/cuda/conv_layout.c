/* conv_layout.c - how a convolution's tensors are laid out for the libraries, and what they take.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/conv_layout.h"

#include <limits.h>

/* Sizes that a tensor may have; libraries count pixels as int. */
enum { ROWS_MAX = 1 << 17, SIDE_MAX = 1 << 14, CHANNELS_MAX = 1 << 17, PIXELS_MAX = INT_MAX };
enum { WIDE = 8 };

static int output_side(int side, int stride)
{
    return (side + stride - 1) / stride;
}

static int is_size(int size, int most)
{
    return size > 0 && size <= most;
}

static enum status check_shape(const struct conv_shape *s)
{
    const int is_shape =
        is_size(s->rows, ROWS_MAX) && is_size(s->height, SIDE_MAX) && is_size(s->width, SIDE_MAX) &&
        (int64_t)s->rows * s->height * s->width <= PIXELS_MAX &&
        is_size(s->in_channels, CHANNELS_MAX) && is_size(s->out_channels, CHANNELS_MAX) &&
        s->groups > 0 && s->in_channels % s->groups == 0 && s->out_channels % s->groups == 0 &&
        (s->kernel == 1 || s->kernel == 3 || s->kernel == 7) && is_size(s->stride, 2);
    if (is_shape)
        return OK;
    return fail(ERR_DEVICE,
                "cuda: no convolution for rows=%d %dx%d channels=%d->%d kernel=%d stride=%d "
                "groups=%d",
                s->rows, s->height, s->width, s->in_channels, s->out_channels, s->kernel, s->stride,
                s->groups);
}

static int padded(int channels)
{
    return (channels + WIDE - 1) / WIDE * WIDE;
}

enum status conv_layout_make(const struct conv_shape *s, struct conv_layout *ret_layout)
{
    TRY(check_shape(s));
    const int in = s->in_channels / s->groups, out = s->out_channels / s->groups;
    const size_t rows = (size_t)s->rows;
    const size_t height = (size_t)output_side(s->height, s->stride);
    const size_t width = (size_t)output_side(s->width, s->stride);
    const struct pack_channels in_channels = {rows * (size_t)s->height * (size_t)s->width,
                                              s->groups, in, padded(in)};
    const struct pack_channels out_channels = {rows * height * width, s->groups, out, padded(out)};
    const int is_product = s->kernel == 1 && s->stride == 1 && s->groups == 1;
    *ret_layout = (struct conv_layout){
        .in = in_channels,
        .out = out_channels,
        .pack = {s->groups, s->kernel * s->kernel, in, in_channels.padded, out,
                 out_channels.padded},
        .is_product = is_product,
        .is_plain = is_product && in_channels.padded == in && out_channels.padded == out,
    };
    return OK;
}

static size_t weight_count(const struct pack_weights *by)
{
    return (size_t)by->groups * (size_t)by->padded_out * (size_t)by->taps * (size_t)by->padded_in;
}

size_t conv_layout_weights(const struct conv_layout *layout, size_t value_bytes)
{
    return weight_count(&layout->pack) * value_bytes;
}

size_t conv_layout_padded(const struct pack_channels *by, size_t value_bytes)
{
    return by->padded == by->width
               ? 0
               : by->pixels * (size_t)by->groups * (size_t)by->padded * value_bytes;
}

struct conv_memory conv_layout_memory(const struct conv_layout *layout, size_t value_bytes)
{
    return (struct conv_memory){
        .own = conv_layout_weights(layout, value_bytes),
        .shared = {conv_layout_padded(&layout->in, value_bytes),
                   conv_layout_padded(&layout->out, value_bytes),
                   layout->is_plain ? 0 : weight_count(&layout->pack) * sizeof(float)},
    };
}
