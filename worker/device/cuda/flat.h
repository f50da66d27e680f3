/* flat.h - kernels over a row of values, each on its own. C++, for .cu files. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_FLAT_H
#define WORKER_DEVICE_CUDA_FLAT_H

#include "worker/device/cuda/tile.h"

enum { FLAT_THREADS = 256 };

/* For count values, n per thread and turn. */
static inline dim3 flat_blocks(size_t count, int n)
{
    const size_t all = ceil_div(count, (size_t)FLAT_THREADS * (size_t)n);
    const size_t most = 2 * (size_t)TILE_BLOCKS;
    return dim3((unsigned)(all < 1 ? 1 : all < most ? all : most));
}

static __device__ inline size_t flat_first(void)
{
    return (size_t)blockIdx.x * FLAT_THREADS + threadIdx.x;
}

static __device__ inline size_t flat_step(void)
{
    return (size_t)gridDim.x * FLAT_THREADS;
}

#endif
