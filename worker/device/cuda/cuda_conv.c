/* cuda_conv.c - convolutions: which library runs them, and what it wants its tensors to look like.
 *
 * A 1x1 convolution of stride 1 is a matrix product (cuBLASLt); all others are cuDNN's. Tensor
 * cores want groups of channels that are multiples of eight: others, the three of an image or the
 * 373 of a RegNetY-256GF, are filled up with zeros on the way in and cut on the way out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/cuda.h"

#include <limits.h>

#include "common/mem.h"
#include "worker/device/cuda/conv_engine.h"
#include "worker/device/cuda/gemm_engine.h"
#include "worker/device/cuda/kernels.h"

/* Sizes that a tensor may have; libraries count pixels as int. */
enum { ROWS_MAX = 1 << 17, SIDE_MAX = 1 << 14, CHANNELS_MAX = 1 << 17, PIXELS_MAX = INT_MAX };
enum { WIDE = 8 };

struct conv {
    struct cuda *cuda;
    struct conv_shape shape; /* as the model says */
    struct pack_channels in, out;
    struct pack_weights pack;
    struct conv_engine *engine; /* NULL: a matrix product */
    void *weights;              /* packed: [out][taps][in of a group], with the zeros */
    size_t weights_bytes;
};

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

static int is_padded(const struct pack_channels *by)
{
    return by->padded != by->width;
}

static size_t padded_bytes(const struct conv *conv, const struct pack_channels *by)
{
    return is_padded(by) ? by->pixels * (size_t)by->groups * (size_t)by->padded *
                               conv->cuda->device.ops->activation_bytes
                         : 0;
}

static size_t weight_count(const struct pack_weights *by)
{
    return (size_t)by->groups * (size_t)by->padded_out * (size_t)by->taps * (size_t)by->padded_in;
}

/* Fills in what follows from the shape. */
static void lay_out(struct conv *conv)
{
    const struct conv_shape *s = &conv->shape;
    const int in = s->in_channels / s->groups, out = s->out_channels / s->groups;
    const size_t rows = (size_t)s->rows;
    const size_t height = (size_t)output_side(s->height, s->stride);
    const size_t width = (size_t)output_side(s->width, s->stride);
    conv->in = (struct pack_channels){rows * (size_t)s->height * (size_t)s->width, s->groups, in,
                                      padded(in)};
    conv->out = (struct pack_channels){rows * height * width, s->groups, out, padded(out)};
    conv->pack = (struct pack_weights){s->groups, s->kernel * s->kernel, in, conv->in.padded,
                                       out,       conv->out.padded};
    conv->weights_bytes = weight_count(&conv->pack) * conv->cuda->device.ops->activation_bytes;
}

static int is_product(const struct conv_shape *shape)
{
    return shape->kernel == 1 && shape->stride == 1 && shape->groups == 1;
}

/* Packed weights are as the model keeps them, but for their type. */
static int is_plain(const struct conv *conv)
{
    return is_product(&conv->shape) && !is_padded(&conv->in) && !is_padded(&conv->out);
}

/* In the order of cuda_memory's areas. */
static struct conv_memory memory_of(const struct conv *conv)
{
    return (struct conv_memory){
        .own = conv->weights_bytes,
        .shared = {padded_bytes(conv, &conv->in), padded_bytes(conv, &conv->out),
                   is_plain(conv) ? 0 : weight_count(&conv->pack) * sizeof(float)},
    };
}

enum status cuda_conv_memory(struct device *device, const struct conv_shape *shape,
                             struct conv_memory *ret_memory)
{
    TRY(check_shape(shape));
    struct conv conv = {.cuda = (struct cuda *)device, .shape = *shape};
    lay_out(&conv);
    *ret_memory = memory_of(&conv);
    return OK;
}

static enum status prepare(struct conv *conv)
{
    struct cuda *cuda = conv->cuda;
    const struct conv_memory memory = memory_of(conv);
    TRY(cuda_allocate(&cuda->device, memory.own, NULL, &conv->weights));
    TRY(cuda_scratch_grow(cuda, &cuda->padded[0], memory.shared[0]));
    TRY(cuda_scratch_grow(cuda, &cuda->padded[1], memory.shared[1]));
    TRY(cuda_scratch_grow(cuda, &cuda->grad, memory.shared[2]));
    if (is_product(&conv->shape))
        return OK;
    struct conv_shape shape = conv->shape;
    shape.in_channels = conv->in.groups * conv->in.padded;
    shape.out_channels = conv->out.groups * conv->out.padded;
    return conv_engine_create(cuda, &shape, &conv->engine);
}

enum status cuda_conv_create(struct device *device, const struct conv_shape *shape,
                             struct conv **ret_conv)
{
    TRY(check_shape(shape));
    struct conv *conv = mem_zero(sizeof(*conv));
    conv->cuda = (struct cuda *)device;
    conv->shape = *shape;
    lay_out(conv);
    const enum status status = prepare(conv);
    if (status != OK) {
        cuda_conv_destroy(conv);
        return status;
    }
    *ret_conv = conv;
    return OK;
}

void cuda_conv_destroy(struct conv *conv)
{
    if (conv == NULL)
        return;
    conv_engine_destroy(conv->engine);
    cuda_release(&conv->cuda->device, conv->weights, conv->weights_bytes, -1);
    mem_free(conv);
}

void cuda_conv_weights(struct conv *conv, const float *weights)
{
    conv->cuda->packing->weights_pack(&conv->cuda->device, &conv->pack, weights, conv->weights);
}

/* The tensor as the library wants it: x itself, or a padded copy. side: 0 input, 1 output. */
static const void *wide(struct conv *conv, int side, const void *x)
{
    const struct pack_channels *by = side == 0 ? &conv->in : &conv->out;
    if (!is_padded(by))
        return x;
    conv->cuda->packing->channels_pad(&conv->cuda->device, by, x, conv->cuda->padded[side].memory);
    return conv->cuda->padded[side].memory;
}

/* Where the library writes what is to end in x. */
static void *wide_result(struct conv *conv, int side, void *x)
{
    return is_padded(side == 0 ? &conv->in : &conv->out) ? conv->cuda->padded[side].memory : x;
}

static void cut(struct conv *conv, int side, void *x)
{
    const struct pack_channels *by = side == 0 ? &conv->in : &conv->out;
    if (is_padded(by))
        conv->cuda->packing->channels_unpad(&conv->cuda->device, by,
                                            conv->cuda->padded[side].memory, x);
}

/* Y[pixels][out] = X[pixels][in] W[out][in]^T */
static void product_forward(struct conv *conv, const void *x, void *y)
{
    const struct gemm_call call = {
        .trans_b = 1,
        .m = (int)conv->in.pixels,
        .n = conv->out.padded,
        .k = conv->in.padded,
        .alpha = 1,
        .in = conv->cuda->values,
        .out = conv->cuda->values,
        .a = x,
        .b = conv->weights,
        .c = y,
    };
    gemm_engine_run(conv->cuda, &call);
}

void cuda_conv_forward(struct conv *conv, const void *x, void *y)
{
    const void *from = wide(conv, 0, x);
    void *to = wide_result(conv, 1, y);
    if (conv->engine == NULL)
        product_forward(conv, from, to);
    else
        conv_engine_forward(conv->engine, from, conv->weights, to);
    cut(conv, 1, y);
}

/* dX[pixels][in] = dY[pixels][out] W[out][in] */
static void product_backward_data(struct conv *conv, const void *dy, void *dx)
{
    const struct gemm_call call = {
        .m = (int)conv->in.pixels,
        .n = conv->in.padded,
        .k = conv->out.padded,
        .alpha = 1,
        .in = conv->cuda->values,
        .out = conv->cuda->values,
        .a = dy,
        .b = conv->weights,
        .c = dx,
    };
    gemm_engine_run(conv->cuda, &call);
}

void cuda_conv_backward_data(struct conv *conv, const void *dy, void *dx)
{
    const void *from = wide(conv, 1, dy);
    void *to = wide_result(conv, 0, dx);
    if (conv->engine == NULL)
        product_backward_data(conv, from, to);
    else
        conv_engine_backward_data(conv->engine, from, conv->weights, to);
    cut(conv, 0, dx);
}

/* dW[out][in] (+)= dY[pixels][out]^T X[pixels][in] */
static void product_backward_weights(struct conv *conv, const void *x, const void *dy, float *dw,
                                     int accumulate)
{
    const struct gemm_call call = {
        .trans_a = 1,
        .m = conv->out.padded,
        .n = conv->in.padded,
        .k = (int)conv->in.pixels,
        .alpha = 1,
        .beta = accumulate ? 1 : 0,
        .in = conv->cuda->values,
        .out = CUDA_FP32,
        .a = dy,
        .b = x,
        .c = dw,
    };
    gemm_engine_run(conv->cuda, &call);
}

void cuda_conv_backward_weights(struct conv *conv, const void *x, const void *dy, float *dw,
                                int accumulate)
{
    struct cuda *cuda = conv->cuda;
    const void *in = wide(conv, 0, x), *out = wide(conv, 1, dy);
    if (is_plain(conv)) {
        product_backward_weights(conv, in, out, dw, accumulate);
        return;
    }
    const struct cuda_packing *packing = &cuda_packing_fp32;
    if (conv->engine == NULL) {
        product_backward_weights(conv, in, out, cuda->grad.memory, 0);
    } else {
        conv_engine_backward_weights(conv->engine, in, out, cuda->grad.memory);
        if (conv_engine_grad_values(conv->engine) != CUDA_FP32)
            packing = cuda->packing;
    }
    packing->weights_unpack(&cuda->device, &conv->pack, cuda->grad.memory, accumulate, dw);
}
