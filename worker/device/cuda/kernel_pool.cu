/* kernel_pool.cu - the maximum behind a ResNet's stem, and where its gradient goes.
 *
 * Backward asks for each pixel of the input whether it is the largest of the windows that see it,
 * so no two threads write to one place. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/flat.h"

using value = CUDA_VALUES;

enum { WINDOW = 3, STRIDE = 2, NOWHERE = -1 };

struct pool_args {
    const value *x;
    int rows, height, width, channels; /* of x */
    int out_height, out_width;
    value *y;              /* forward */
    const value *dy, *dy2; /* backward; dy2 may be NULL */
    value *dx;
};

/* N channels of a pixel, of the input or the output. */
struct place {
    int row, y, x, channel;
};

static __device__ inline struct place place_of(size_t i, int height, int width, int channels, int n)
{
    const size_t vectors = (size_t)(channels / n), pixel = i / vectors;
    const size_t line = pixel / (size_t)width;
    return {(int)(line / (size_t)height), (int)(line % (size_t)height),
            (int)(pixel % (size_t)width), (int)(i % vectors) * n};
}

static __device__ inline size_t value_at(const struct place &at, int height, int width,
                                         int channels)
{
    const size_t line = (size_t)at.row * (size_t)height + (size_t)at.y;
    return (line * (size_t)width + (size_t)at.x) * (size_t)channels + (size_t)at.channel;
}

/* The largest values of the window of an output pixel, and the first pixel of the row that has
 * them. NaN is larger than any number. */
template <int N>
static __device__ inline void largest(const struct pool_args &args, const struct place &out,
                                      float (&best)[N], int (&where)[N])
{
    for (int i = 0; i < N; i++) {
        best[i] = 0;
        where[i] = NOWHERE;
    }
    for (int tap = 0; tap < WINDOW * WINDOW; tap++) {
        const int y = STRIDE * out.y - 1 + tap / WINDOW, x = STRIDE * out.x - 1 + tap % WINDOW;
        if (y < 0 || y >= args.height || x < 0 || x >= args.width)
            continue;
        const struct place in = {out.row, y, x, out.channel};
        float v[N];
        load(args.x + value_at(in, args.height, args.width, args.channels), v);
        for (int i = 0; i < N; i++)
            if (where[i] == NOWHERE || v[i] > best[i] || v[i] != v[i]) {
                best[i] = v[i];
                where[i] = y * args.width + x;
            }
    }
}

template <int N> static __global__ void pool_kernel(struct pool_args args)
{
    const size_t pixels = (size_t)args.rows * (size_t)args.out_height * (size_t)args.out_width;
    for (size_t i = flat_first(); i < pixels * (size_t)(args.channels / N); i += flat_step()) {
        const struct place out = place_of(i, args.out_height, args.out_width, args.channels, N);
        float best[N];
        int where[N];
        largest(args, out, best, where);
        store(args.y + i * N, best);
    }
}

template <int N> static __global__ void pool_backward_kernel(struct pool_args args)
{
    const size_t pixels = (size_t)args.rows * (size_t)args.height * (size_t)args.width;
    for (size_t i = flat_first(); i < pixels * (size_t)(args.channels / N); i += flat_step()) {
        const struct place in = place_of(i, args.height, args.width, args.channels, N);
        float sum[N] = {}, best[N];
        int where[N];
        for (int y = in.y / STRIDE; y <= (in.y + 1) / STRIDE && y < args.out_height; y++)
            for (int x = in.x / STRIDE; x <= (in.x + 1) / STRIDE && x < args.out_width; x++) {
                const struct place out = {in.row, y, x, in.channel};
                const size_t at = value_at(out, args.out_height, args.out_width, args.channels);
                float d[N], d2[N] = {};
                largest(args, out, best, where);
                load(args.dy + at, d);
                if (args.dy2 != nullptr)
                    load(args.dy2 + at, d2);
                for (int n = 0; n < N; n++)
                    sum[n] += where[n] == in.y * args.width + in.x ? d[n] + d2[n] : 0;
            }
        store(args.dx + i * N, sum);
    }
}

static struct pool_args args_of(const struct max_pool *args)
{
    return {(const value *)args->x,
            args->rows,
            args->height,
            args->width,
            args->channels,
            (args->height + STRIDE - 1) / STRIDE,
            (args->width + STRIDE - 1) / STRIDE,
            (value *)args->y,
            nullptr,
            nullptr,
            nullptr};
}

void KERNEL(max_pool)(struct device *device, const struct max_pool *pool)
{
    constexpr int N = vector_of<value>();
    const struct pool_args args = args_of(pool);
    const bool is_wide = is_vector<value>(args.channels, args.x, args.y);
    const size_t count = (size_t)args.rows * (size_t)args.out_height * (size_t)args.out_width *
                         (size_t)args.channels;
    LAUNCH((is_wide ? pool_kernel<N> : pool_kernel<1>), flat_blocks(count, is_wide ? N : 1),
           dim3(FLAT_THREADS), cuda_stream(device), args);
    cuda_launched(device, "max_pool");
}

void KERNEL(max_pool_backward)(struct device *device, const struct max_pool *pool, const void *dy,
                               const void *dy2, void *dx)
{
    constexpr int N = vector_of<value>();
    struct pool_args args = args_of(pool);
    args.dy = (const value *)dy;
    args.dy2 = (const value *)dy2;
    args.dx = (value *)dx;
    const bool is_wide = is_vector<value>(args.channels, args.x, dy, dy2, dx);
    const size_t count =
        (size_t)args.rows * (size_t)args.height * (size_t)args.width * (size_t)args.channels;
    LAUNCH((is_wide ? pool_backward_kernel<N> : pool_backward_kernel<1>),
           flat_blocks(count, is_wide ? N : 1), dim3(FLAT_THREADS), cuda_stream(device), args);
    cuda_launched(device, "max_pool_backward");
}
