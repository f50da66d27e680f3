/* tile.h - how kernels walk over [rows][pixels][channels], and sum over pixels. C++, for .cu files.
 *
 * A block has 16 x 16 threads: 16 lanes side by side on the channels of a pixel, each on N of them
 * (16 bytes where channels and addresses allow it, else one), and 16 pixels below each other.
 * Blocks tile the channels in x, share the rows in y and the pixels of a row in z. Shared out is by
 * constants, not by what the GPU has, so that sums have one order everywhere.
 *
 * Sums: up to 64 pixels in fp32, in registers, then fp64; then the 16 pixels of a block in shared
 * memory, in order; then the blocks, in order (kernel_parts.cu). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_TILE_H
#define WORKER_DEVICE_CUDA_TILE_H

#include "worker/device/cuda/cuda.h"

#include CUDA_LAUNCH_H

/* BLOCKS: enough to fill the largest GPU twice (132 processors, 4 to 8 blocks of 256 threads on
 * each). RUN: as many additions as keep the error of an fp32 sum near 1e-6. UNROLLED: 16-byte loads
 * in flight per thread and tensor. */
enum { TILE_LANES = 16, TILE_ROWS = 16, TILE_BLOCKS = 1024, TILE_RUN = 64, TILE_UNROLLED = 4 };

using fp32 = float;

static __device__ inline float to_float(float x)
{
    return x;
}

static __device__ inline void from_float(float x, float *ret)
{
    *ret = x;
}

/* N neighbours that are moved as one. */
template <class T, int N> struct alignas(sizeof(T) * N) pack {
    T v[N];
};

template <class T, int N> static __device__ inline void load(const T *from, float (&to)[N])
{
    const pack<T, N> p = *reinterpret_cast<const pack<T, N> *>(from);
    for (int i = 0; i < N; i++)
        to[i] = to_float(p.v[i]);
}

template <class T, int N> static __device__ inline void store(T *to, const float (&from)[N])
{
    pack<T, N> p;
    for (int i = 0; i < N; i++)
        from_float(from[i], &p.v[i]);
    *reinterpret_cast<pack<T, N> *>(to) = p;
}

/* Vectors of parameters begin where they like; they are read once per thread. */
template <int N> static __device__ inline void load_plain(const float *from, float (&to)[N])
{
    for (int i = 0; i < N; i++)
        to[i] = from[i];
}

/* NaN stays NaN: a step whose loss is not finite must be seen to be so. */
static __device__ inline float relu(float x)
{
    return x < 0 ? 0 : x;
}

/* Values of a 16-byte vector. */
template <class T> static __host__ __device__ constexpr int vector_of()
{
    return 16 / (int)sizeof(T);
}

/* Whether tensors at these addresses (NULL is fine) may be moved 16 bytes at a time. */
template <class T>
static __host__ __device__ inline bool is_vector(int channels, const void *a, const void *b,
                                                 const void *c = nullptr, const void *d = nullptr,
                                                 const void *e = nullptr)
{
    const uintptr_t all = (uintptr_t)a | (uintptr_t)b | (uintptr_t)c | (uintptr_t)d | (uintptr_t)e;
    return all % 16 == 0 && channels % vector_of<T>() == 0;
}

static inline size_t ceil_div(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static inline dim3 tile_threads(void)
{
    return dim3(TILE_LANES, TILE_ROWS);
}

/* For lanes of n channels. */
static inline dim3 tile_blocks(size_t rows, size_t pixels, int channels, int n)
{
    const size_t across = ceil_div((size_t)channels, (size_t)(TILE_LANES * n));
    const size_t wanted = across < TILE_BLOCKS ? TILE_BLOCKS / across : 1;
    const size_t down = rows < 1 ? 1 : rows < wanted ? rows : wanted;
    const size_t most = pixels < 1 ? 1 : ceil_div(pixels, TILE_ROWS * TILE_UNROLLED);
    const size_t splits = wanted / down < most ? wanted / down : most;
    return dim3((unsigned)across, (unsigned)down, (unsigned)splits);
}

/* Blocks that sum over the same channels. */
static inline int tile_parts(dim3 blocks)
{
    return (int)(blocks.y * blocks.z);
}

/* First of the thread's n channels. */
static __device__ inline int tile_channel(int n)
{
    return (int)(blockIdx.x * TILE_LANES + threadIdx.x) * n;
}

/* The thread's first pixel of a row, the distance to its next, and how many it has. */
static __device__ inline size_t tile_first(void)
{
    return blockIdx.z * TILE_ROWS + threadIdx.y;
}

static __device__ inline size_t tile_step(void)
{
    return (size_t)gridDim.z * TILE_ROWS;
}

static __device__ inline size_t tile_count(size_t pixels)
{
    return pixels > tile_first() ? (pixels - tile_first() + tile_step() - 1) / tile_step() : 0;
}

/* Calls pixel(at) with the place of each of the thread's values in [pixels][channels]. */
template <class Pixel>
static __device__ inline void tile_pixels(size_t pixels, int channels, int channel, Pixel pixel)
{
    const size_t count = tile_count(pixels), step = tile_step() * (size_t)channels;
    size_t at = tile_first() * (size_t)channels + (size_t)channel;
    for (size_t i = 0; i < count; i++, at += step)
        pixel(at);
}

/* As tile_pixels, with pixel(at, part) adding to S sums of N channels; they join total. Unrolled,
 * so that loads of several pixels are in flight, unless pixel also writes: loads do not pass stores
 * that may go to the same tensor, and unrolling would only take registers. */
template <bool IS_UNROLLED, int S, int N, class Pixel>
static __device__ inline void tile_sums(size_t pixels, int channels, int channel,
                                        double (&total)[S][N], Pixel pixel)
{
    const size_t step = tile_step() * (size_t)channels;
    size_t at = tile_first() * (size_t)channels + (size_t)channel;
    for (size_t left = tile_count(pixels); left > 0;) {
        const int run = left < TILE_RUN ? (int)left : TILE_RUN;
        float part[S][N] = {};
        UNROLL(IS_UNROLLED ? TILE_UNROLLED : 1)
        for (int i = 0; i < run; i++, at += step)
            pixel(at, part);
        for (int s = 0; s < S; s++)
            for (int i = 0; i < N; i++)
                total[s][i] += (double)part[s][i];
        left -= (size_t)run;
    }
}

/* The block's sum of mine[0..N) over its 16 pixels, per channel: what is returned is that of
 * channel tile_sum_channel(N), for the first 16*N threads. All threads of the block must call it.
 */
template <int N> static __device__ inline double tile_sum(const double (&mine)[N])
{
    enum { WIDTH = TILE_LANES * N };
    SHARED(double, all, TILE_ROWS *WIDTH);
    const unsigned thread = threadIdx.y * TILE_LANES + threadIdx.x;
    for (int i = 0; i < N; i++)
        all[threadIdx.y * WIDTH + threadIdx.x * N + i] = mine[i];
    __syncthreads();
    double sum = 0;
    if (thread < WIDTH)
        for (int row = 0; row < TILE_ROWS; row++)
            sum += all[row * WIDTH + thread];
    __syncthreads(); /* before the next call writes */
    return sum;
}

/* `channels` or more: no channel of the tensor. */
static __device__ inline int tile_sum_channel(int n)
{
    const int thread = (int)(threadIdx.y * TILE_LANES + threadIdx.x);
    return thread < TILE_LANES * n ? (int)blockIdx.x * TILE_LANES * n + thread : 0x7fffffff;
}

/* parts[part of the block][S][channels] = the block's sums. All threads must call it. */
template <int S, int N>
static __device__ inline void tile_store_parts(const double (&mine)[S][N], int channels,
                                               double *parts)
{
    const size_t part = (size_t)blockIdx.y * gridDim.z + blockIdx.z;
    const int channel = tile_sum_channel(N);
    for (int s = 0; s < S; s++) {
        const double sum = tile_sum(mine[s]);
        if (channel < channels)
            parts[(part * S + s) * (size_t)channels + (size_t)channel] = sum;
    }
}

#endif
