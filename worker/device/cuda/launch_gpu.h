/* launch_gpu.h - the words of our kernels, for nvcc. The twin of emulated/launch_emulated.h. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_LAUNCH_GPU_H
#define WORKER_DEVICE_CUDA_LAUNCH_GPU_H

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <math.h>

#define UNROLL_TEXT(text) _Pragma(#text)
#define UNROLL(n)         UNROLL_TEXT(unroll n)

/* An array that the threads of a block share. */
#define SHARED(type, name, count) __shared__ type name[count]

/* Between all lanes of a warp. */
#define SHUFFLE_XOR(value, mask) __shfl_xor_sync(0xffffffffu, value, mask)

#define LAUNCH(kernel, blocks, threads, stream, ...)                                               \
    kernel<<<blocks, threads, 0, stream>>>(__VA_ARGS__)

using bf16 = __nv_bfloat16;
using fp16 = __half;

static __device__ inline float to_float(bf16 x)
{
    return __bfloat162float(x);
}

static __device__ inline float to_float(fp16 x)
{
    return __half2float(x);
}

static __device__ inline void from_float(float x, bf16 *ret)
{
    *ret = __float2bfloat16_rn(x);
}

static __device__ inline void from_float(float x, fp16 *ret)
{
    *ret = __float2half_rn(x);
}

#endif
