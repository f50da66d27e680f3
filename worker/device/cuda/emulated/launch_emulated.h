/* launch_emulated.h - CUDA's words for a host C++ compiler: kernels run on emulated/grid.c.
 *
 * The twin of launch_gpu.h; CMake defines CUDA_LAUNCH_H as one of them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_LAUNCH_EMULATED_H
#define WORKER_DEVICE_CUDA_EMULATED_LAUNCH_EMULATED_H

#include <math.h>
#include <type_traits>

#include "worker/device/cuda/emulated/launch.h"
#include "worker/device/cuda/emulated/values.h"

#define __global__
#define __device__
#define __host__
#define __restrict__ __restrict

#define threadIdx grid_thread
#define blockIdx  grid_block
#define blockDim  grid_threads
#define gridDim   grid_blocks

#define UNROLL(n)

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

/* An array that the threads of a block share. */
#define SHARED(type, name, count)                                                                  \
    static type name[count];                                                                       \
    grid_shared(name, sizeof(name))

#define __syncthreads() grid_barrier(__FILE__, __LINE__)

/* Of full warps only: our kernels know no other mask. */
static inline float emulated_shuffle_xor(const char *file, int line, float value, int mask)
{
    const uint64_t *values = grid_exchange(file, line, values_bits(value));
    return values_float((uint32_t)values[grid_lane() ^ mask]);
}

static inline double emulated_shuffle_xor(const char *file, int line, double value, int mask)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof(bits));
    bits = grid_exchange(file, line, bits)[grid_lane() ^ mask];
    memcpy(&value, &bits, sizeof(value));
    return value;
}
#define SHUFFLE_XOR(value, mask) emulated_shuffle_xor(__FILE__, __LINE__, value, mask)

template <class Body> static void emulated_thread(const void *arguments)
{
    (*static_cast<const Body *>(arguments))();
}

template <class T> struct emulated_argument {
    using type = T;
};

/* Arguments are taken along as they are now: the kernel runs later. */
template <class... Parameters>
static void emulated_launch(const char *name, dim3 blocks, dim3 threads, cudaStream_t stream,
                            void (*kernel)(Parameters...),
                            typename emulated_argument<Parameters>::type... arguments)
{
    const auto body = [kernel, arguments...] { kernel(arguments...); };
    using body_type = std::remove_const_t<decltype(body)>;
    static_assert(std::is_trivially_copyable<body_type>::value, "arguments of a kernel are data");
    const struct grid grid = {name,
                              {blocks.x, blocks.y, blocks.z},
                              {threads.x, threads.y, threads.z},
                              emulated_thread<body_type>,
                              &body};
    launch_grid(&grid, sizeof(body), stream);
}

/* kernel<<<blocks, threads, 0, stream>>>(...) */
#define LAUNCH(kernel, blocks, threads, stream, ...)                                               \
    emulated_launch(#kernel, blocks, threads, stream, kernel, __VA_ARGS__)

struct bf16 {
    uint16_t bits;
};

struct fp16 {
    uint16_t bits;
};

static inline float to_float(bf16 x)
{
    return values_from_bf16(x.bits);
}

static inline float to_float(fp16 x)
{
    return values_from_fp16(x.bits);
}

static inline void from_float(float x, bf16 *ret)
{
    ret->bits = values_to_bf16(x);
}

static inline void from_float(float x, fp16 *ret)
{
    ret->bits = values_to_fp16(x);
}

#endif
