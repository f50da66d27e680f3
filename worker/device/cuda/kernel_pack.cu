/* kernel_pack.cu - channels and weights between our layouts and padded ones.
 *
 * Tensor cores want groups of channels that are multiples of 8 and rows that begin at 16 bytes; a
 * RegNetY-256GF has groups of 373. The zeros stay zeros: a zero weight gives a zero output and a
 * zero input a zero gradient, and what comes back is cut off here. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/flat.h"

using value = CUDA_VALUES;

/* N padded values per thread, written as one vector; those of x are read as they lie. */
template <int N>
static __global__ void pad_kernel(struct pack_channels by, const value *x, value *y)
{
    const size_t groups = by.pixels * (size_t)by.groups;
    const int vectors = by.padded / N;
    for (size_t i = flat_first(); i < groups * (size_t)vectors; i += flat_step()) {
        const size_t group = i / (size_t)vectors;
        const int c = (int)(i % (size_t)vectors) * N;
        float v[N];
        for (int j = 0; j < N; j++)
            v[j] = c + j < by.width ? to_float(x[group * (size_t)by.width + (size_t)(c + j)]) : 0;
        store(y + i * N, v);
    }
}

void KERNEL(channels_pad)(struct device *device, const struct pack_channels *by, const void *x,
                          void *y)
{
    constexpr int N = vector_of<value>();
    const size_t count = by->pixels * (size_t)by->groups * (size_t)by->padded;
    const bool is_wide = is_vector<value>(by->padded, y, nullptr);
    LAUNCH((is_wide ? pad_kernel<N> : pad_kernel<1>), flat_blocks(count, is_wide ? N : 1),
           dim3(FLAT_THREADS), cuda_stream(device), *by, (const value *)x, (value *)y);
    cuda_launched(device, "channels_pad");
}

static __global__ void unpad_kernel(struct pack_channels by, const value *x, value *y)
{
    const size_t count = by.pixels * (size_t)by.groups * (size_t)by.width;
    for (size_t i = flat_first(); i < count; i += flat_step()) {
        const size_t group = i / (size_t)by.width, c = i % (size_t)by.width;
        y[i] = x[group * (size_t)by.padded + c];
    }
}

void KERNEL(channels_unpad)(struct device *device, const struct pack_channels *by, const void *x,
                            void *y)
{
    const size_t count = by->pixels * (size_t)by->groups * (size_t)by->width;
    LAUNCH(unpad_kernel, flat_blocks(count, 1), dim3(FLAT_THREADS), cuda_stream(device), *by,
           (const value *)x, (value *)y);
    cuda_launched(device, "channels_unpad");
}

static __global__ void weights_kernel(struct pack_weights by, const float *w, value *packed)
{
    const size_t in = (size_t)by.padded_in, taps = (size_t)by.taps;
    const size_t out = (size_t)by.padded_out;
    for (size_t i = flat_first(); i < (size_t)by.groups * out * taps * in; i += flat_step()) {
        const size_t ci = i % in, tap = i / in % taps, co = i / (in * taps) % out;
        const size_t group = i / (in * taps * out);
        const size_t row = group * (size_t)by.out + co;
        float v = 0;
        if (ci < (size_t)by.in && co < (size_t)by.out)
            v = w[(row * (size_t)by.in + ci) * taps + tap];
        from_float(v, packed + i);
    }
}

void KERNEL(weights_pack)(struct device *device, const struct pack_weights *by, const float *w,
                          void *packed)
{
    const size_t count =
        (size_t)by->groups * (size_t)by->padded_out * (size_t)by->taps * (size_t)by->padded_in;
    LAUNCH(weights_kernel, flat_blocks(count, 1), dim3(FLAT_THREADS), cuda_stream(device), *by, w,
           (value *)packed);
    cuda_launched(device, "weights_pack");
}

static __global__ void unpack_kernel(struct pack_weights by, const value *packed, int accumulate,
                                     float *w)
{
    const size_t in = (size_t)by.in, taps = (size_t)by.taps, out = (size_t)by.out;
    for (size_t i = flat_first(); i < (size_t)by.groups * out * in * taps; i += flat_step()) {
        const size_t tap = i % taps, ci = i / taps % in, co = i / (taps * in) % out;
        const size_t row = i / (taps * in * out) * (size_t)by.padded_out + co;
        const float v = to_float(packed[(row * taps + tap) * (size_t)by.padded_in + ci]);
        w[i] = accumulate ? w[i] + v : v;
    }
}

void KERNEL(weights_unpack)(struct device *device, const struct pack_weights *by,
                            const void *packed, int accumulate, float *w)
{
    const size_t count = (size_t)by->groups * (size_t)by->out * (size_t)by->in * (size_t)by->taps;
    LAUNCH(unpack_kernel, flat_blocks(count, 1), dim3(FLAT_THREADS), cuda_stream(device), *by,
           (const value *)packed, accumulate, w);
    cuda_launched(device, "weights_unpack");
}
