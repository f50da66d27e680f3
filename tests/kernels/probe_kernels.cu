/* probe_kernels.cu - small kernels, right and wrong, that show what the emulated GPU sees. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/probe_kernels.h"

#include CUDA_LAUNCH_H

static __global__ void reverse_kernel(const float *x, int has_barrier, float *y)
{
    SHARED(float, all, PROBE_THREADS);
    all[threadIdx.x] = x[threadIdx.x];
    if (has_barrier)
        __syncthreads();
    y[threadIdx.x] = all[PROBE_THREADS - 1 - threadIdx.x];
}

void probe_reverse(cudaStream_t stream, const float *x, int has_barrier, float *y)
{
    LAUNCH(reverse_kernel, dim3(1), dim3(PROBE_THREADS), stream, x, has_barrier, y);
}

static __global__ void warp_sum_kernel(const float *x, float *y)
{
    float sum = x[threadIdx.x];
    for (int lane = 16; lane > 0; lane /= 2)
        sum += SHUFFLE_XOR(sum, lane);
    y[threadIdx.x] = sum;
}

void probe_warp_sum(cudaStream_t stream, const float *x, float *y)
{
    LAUNCH(warp_sum_kernel, dim3(1), dim3(PROBE_THREADS), stream, x, y);
}

static __global__ void set_kernel(float value, float *y)
{
    y[0] = value;
}

void probe_set(cudaStream_t stream, float value, float *y)
{
    LAUNCH(set_kernel, dim3(1), dim3(1), stream, value, y);
}

void probe_wide_block(cudaStream_t stream, float *y)
{
    LAUNCH(set_kernel, dim3(1), dim3(1025), stream, 1, y);
}

static __device__ void shared_memory(float *y)
{
    SHARED(float, all, 13 * 1024);
    y[threadIdx.x] = all[0];
}

static __global__ void wrong_kernel(enum probe_fault fault, float *y)
{
    const bool is_half = threadIdx.x < PROBE_THREADS / 2, is_odd = threadIdx.x % 2 == 1;
    float v = 1;
    switch (fault) {
    case PROBE_BARRIER_OF_SOME:
        if (is_half)
            __syncthreads();
        break;
    case PROBE_BARRIER_AFTER_LEAVE:
        if (is_half)
            return;
        __syncthreads();
        break;
    case PROBE_TWO_BARRIERS:
        if (is_half)
            __syncthreads();
        else
            __syncthreads();
        break;
    case PROBE_EXCHANGE_OF_SOME:
        if (is_odd)
            v = SHUFFLE_XOR(v, 2);
        break;
    case PROBE_TWO_EXCHANGES:
        if (is_odd)
            v = SHUFFLE_XOR(v, 2);
        else
            v = SHUFFLE_XOR(v, 4);
        break;
    case PROBE_SHORT_WARP:
        v = SHUFFLE_XOR(v, 2);
        break;
    default:
        shared_memory(y);
    }
    y[threadIdx.x] = v;
}

void probe_wrong(cudaStream_t stream, enum probe_fault fault, float *y)
{
    LAUNCH(wrong_kernel, dim3(1), dim3(fault == PROBE_SHORT_WARP ? 16 : PROBE_THREADS), stream,
           fault, y);
}
