/* row.h - one block for a row of numbers: sums and maxima along it. C++, for .cu files.
 *
 * Sums: each thread adds up to 64 numbers in fp32, then fp64; lanes of a warp by a tree, warps in
 * order. All threads of a block get the result and must take part. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_ROW_H
#define WORKER_DEVICE_CUDA_ROW_H

#include "worker/device/cuda/tile.h"

enum { ROW_THREADS = 256, ROW_LANES = 32, ROW_WARPS = ROW_THREADS / ROW_LANES };

/* Blocks take rows in turn. */
static inline dim3 row_blocks(int rows)
{
    enum { MOST = 4 * TILE_BLOCKS };
    return dim3((unsigned)(rows < 1 ? 1 : rows < MOST ? rows : MOST));
}

/* The larger one; NaN if either is. */
static __device__ inline float larger(float a, float b)
{
    return a > b || a != a ? a : b;
}

static __device__ inline double row_add(double mine)
{
    SHARED(double, warps, ROW_WARPS);
    for (int lane = ROW_LANES / 2; lane > 0; lane /= 2)
        mine += SHUFFLE_XOR(mine, lane);
    if (threadIdx.x % ROW_LANES == 0)
        warps[threadIdx.x / ROW_LANES] = mine;
    __syncthreads();
    double sum = 0;
    for (int i = 0; i < ROW_WARPS; i++)
        sum += warps[i];
    __syncthreads(); /* before the next call writes */
    return sum;
}

static __device__ inline float row_larger(float mine)
{
    SHARED(float, warps, ROW_WARPS);
    for (int lane = ROW_LANES / 2; lane > 0; lane /= 2)
        mine = larger(mine, SHUFFLE_XOR(mine, lane));
    if (threadIdx.x % ROW_LANES == 0)
        warps[threadIdx.x / ROW_LANES] = mine;
    __syncthreads();
    float max = warps[0];
    for (int i = 1; i < ROW_WARPS; i++)
        max = larger(max, warps[i]);
    __syncthreads(); /* before the next call writes */
    return max;
}

/* The sum of term(i) over i in [first, end) by step, of this thread alone. */
template <class Term>
static __device__ inline double thread_sum(size_t first, size_t end, size_t step, Term term)
{
    double total = 0;
    for (size_t i = first; i < end;) {
        float part = 0;
        UNROLL(TILE_UNROLLED)
        for (int n = 0; n < TILE_RUN && i < end; n++, i += step)
            part += term(i);
        total += (double)part;
    }
    return total;
}

/* The sum of term(i) over i in [0, columns). */
template <class Term> static __device__ inline double row_sum(int columns, Term term)
{
    return row_add(thread_sum(threadIdx.x, (size_t)columns, ROW_THREADS, term));
}

#endif
