/* cuda_conv.c - convolutions: which library runs them, and what it wants its tensors to look like.
 *
 * A 1x1 convolution of stride 1 is a matrix product (cuBLASLt); all others are cuDNN's, filled up
 * with zeros as conv_layout.h says. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/cuda.h"

#include "common/mem.h"
#include "worker/device/cuda/conv_engine.h"
#include "worker/device/cuda/conv_layout.h"
#include "worker/device/cuda/gemm_engine.h"
#include "worker/device/cuda/kernels.h"

struct conv {
    struct cuda *cuda;
    struct conv_shape shape; /* as the model says */
    struct conv_layout layout;
    struct conv_engine *engine; /* NULL: a matrix product */
    void *weights;              /* packed: [out][taps][in of a group], with the zeros */
};

static size_t value_bytes(const struct cuda *cuda)
{
    return cuda->device.ops->activation_bytes;
}

/* In the order of cuda_memory's areas. */
static struct conv_memory memory_of(const struct conv *conv)
{
    return conv_layout_memory(&conv->layout, value_bytes(conv->cuda));
}

enum status cuda_conv_memory(struct device *device, const struct conv_shape *shape,
                             struct conv_memory *ret_memory)
{
    struct conv conv = {.cuda = (struct cuda *)device};
    TRY(conv_layout_make(shape, &conv.layout));
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
    if (conv->layout.is_product)
        return OK;
    struct conv_shape shape = conv->shape;
    shape.in_channels = conv->layout.in.groups * conv->layout.in.padded;
    shape.out_channels = conv->layout.out.groups * conv->layout.out.padded;
    return conv_engine_create(cuda, &shape, &conv->engine);
}

enum status cuda_conv_create(struct device *device, const struct conv_shape *shape,
                             struct conv **ret_conv)
{
    struct conv_layout layout;
    TRY(conv_layout_make(shape, &layout));
    struct conv *conv = mem_zero(sizeof(*conv));
    conv->cuda = (struct cuda *)device;
    conv->shape = *shape;
    conv->layout = layout;
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
    cuda_release(&conv->cuda->device, conv->weights,
                 conv_layout_weights(&conv->layout, value_bytes(conv->cuda)), -1);
    mem_free(conv);
}

void cuda_conv_weights(struct conv *conv, const float *weights)
{
    conv->cuda->packing->weights_pack(&conv->cuda->device, &conv->layout.pack, weights,
                                      conv->weights);
}

/* 0 input, 1 output. */
static const struct pack_channels *side_of(const struct conv *conv, int side)
{
    return side == 0 ? &conv->layout.in : &conv->layout.out;
}

static int is_padded(const struct pack_channels *by)
{
    return by->padded != by->width;
}

/* The tensor as the library wants it: x itself, or a padded copy. side: 0 input, 1 output. */
static const void *wide(struct conv *conv, int side, const void *x)
{
    const struct pack_channels *by = side_of(conv, side);
    if (!is_padded(by))
        return x;
    conv->cuda->packing->channels_pad(&conv->cuda->device, by, x, conv->cuda->padded[side].memory);
    return conv->cuda->padded[side].memory;
}

/* Where the library writes what is to end in x. */
static void *wide_result(struct conv *conv, int side, void *x)
{
    return is_padded(side_of(conv, side)) ? conv->cuda->padded[side].memory : x;
}

static void cut(struct conv *conv, int side, void *x)
{
    const struct pack_channels *by = side_of(conv, side);
    if (is_padded(by))
        conv->cuda->packing->channels_unpad(&conv->cuda->device, by,
                                            conv->cuda->padded[side].memory, x);
}

/* Y[pixels][out] = X[pixels][in] W[out][in]^T */
static void product_forward(struct conv *conv, const void *x, void *y)
{
    const struct gemm_call call = {
        .trans_b = 1,
        .m = (int)conv->layout.in.pixels,
        .n = conv->layout.out.padded,
        .k = conv->layout.in.padded,
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
        .m = (int)conv->layout.in.pixels,
        .n = conv->layout.in.padded,
        .k = conv->layout.out.padded,
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
        .m = conv->layout.out.padded,
        .n = conv->layout.in.padded,
        .k = (int)conv->layout.in.pixels,
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
    if (conv->layout.is_plain) {
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
    packing->weights_unpack(&cuda->device, &conv->layout.pack, cuda->grad.memory, accumulate, dw);
}
