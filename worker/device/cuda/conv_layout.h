/* conv_layout.h - how a convolution's tensors are laid out for the libraries, and what they take.
 *
 * Tensor cores want groups of channels that are multiples of eight: others, the three of an image
 * or the 373 of a RegNetY-256GF, are filled up with zeros on the way in and cut on the way out.
 * Plain arithmetic, without a GPU, so that paper_gpu.c can tell what one would be asked for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_CONV_LAYOUT_H
#define WORKER_DEVICE_CUDA_CONV_LAYOUT_H

#include "worker/device/cuda/kernels.h"

/* Working memory that the device takes when it is opened, whatever runs on it later: cuDNN's, more
 * than fast engines ask for and less than a hundredth of a GPU that trains large models;
 * cuBLASLt's; and of sums over many blocks. Those over pixels take at most 2 MiB (tile.h: 1024
 * blocks of 128 channels, two sums of 8 bytes), the optimizer 1 KiB per tensor, a sum over 16384
 * prototypes 2 MiB. */
enum {
    CUDA_CONV_WORKSPACE = 256 << 20,
    CUDA_GEMM_WORKSPACE = 32 << 20,
    CUDA_PARTS_BYTES = 16 << 20,
};

struct conv_layout {
    struct pack_channels in, out;
    struct pack_weights pack;
    int is_product; /* 1x1 of stride 1: a matrix product */
    int is_plain;   /* and its packed weights are as the model keeps them, but for their type */
};

/* ERR_DEVICE: a shape that the back end has no convolution for. */
enum status conv_layout_make(const struct conv_shape *shape, struct conv_layout *ret_layout);
/* Bytes of packed weights; value_bytes: of an activation. */
size_t conv_layout_weights(const struct conv_layout *layout, size_t value_bytes);
/* Of the padded copy of one side's tensor; 0: it needs none. */
size_t conv_layout_padded(const struct pack_channels *by, size_t value_bytes);
/* Shared areas: padded input, padded output, packed gradient of the weights. */
struct conv_memory conv_layout_memory(const struct conv_layout *layout, size_t value_bytes);

#endif
