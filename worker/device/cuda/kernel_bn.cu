/* kernel_bn.cu - the forward half of batch normalisation: sums and apply. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/tile.h"

using value = CUDA_VALUES;

template <int N>
static __global__ void sums_kernel(const value *x, size_t pixels, int channels, const float *shift,
                                   double *parts)
{
    const int c = tile_channel(N);
    double total[2][N] = {};
    if (c < channels) {
        float from[N];
        load_plain(shift + c, from);
        tile_sums<true>(pixels, channels, c, total, [&](size_t at, float(&part)[2][N]) {
            float v[N];
            load(x + at, v);
            for (int i = 0; i < N; i++) {
                const float d = v[i] - from[i];
                part[0][i] += d;
                part[1][i] += d * d;
            }
        });
    }
    tile_store_parts(total, channels, parts);
}

void KERNEL(bn_sums)(struct device *device, const struct bn_sums *args)
{
    const int channels = args->channels;
    const size_t pixels = (size_t)args->rows * (size_t)args->pixels_per_row;
    constexpr int N = vector_of<value>();
    const bool is_wide = is_vector<value>(channels, args->x, nullptr);
    const dim3 blocks = tile_blocks(1, pixels, channels, is_wide ? N : 1);
    const size_t count = 2 * (size_t)channels;
    double *parts =
        (double *)cuda_parts(device, (size_t)tile_parts(blocks) * count * sizeof(double));
    if (parts == nullptr)
        return;
    LAUNCH((is_wide ? sums_kernel<N> : sums_kernel<1>), blocks, tile_threads(), cuda_stream(device),
           (const value *)args->x, pixels, channels, args->shift, parts);
    cuda_launched(device, "bn_sums");
    const struct parts_sum sum = {parts, tile_parts(blocks), count, nullptr, 0, args->sums};
    cuda_parts_sum(device, &sum);
}

/* What a thread needs of its channels. */
template <int N> struct affine {
    float scale[N], bias[N], skip_scale[N], row_scale[N];
};

template <int N>
static __device__ inline void load_affine(const struct bn_apply &args, int c, struct affine<N> &to)
{
    load_plain(args.scale + c, to.scale);
    load_plain(args.bias + c, to.bias);
    for (int i = 0; i < N; i++) {
        to.skip_scale[i] = args.skip_scale == nullptr ? 1 : args.skip_scale[c + i];
        to.bias[i] += args.skip_scale == nullptr ? 0 : args.skip_bias[c + i];
        to.row_scale[i] = 1;
    }
}

/* y at one pixel; v is left without row_scale. */
template <int N>
static __device__ inline void apply_pixel(const struct bn_apply &args, const struct affine<N> &by,
                                          size_t at, float (&v)[N])
{
    float skip[N] = {};
    load((const value *)args.x + at, v);
    if (args.skip != nullptr)
        load((const value *)args.skip + at, skip);
    for (int i = 0; i < N; i++) {
        v[i] = v[i] * by.scale[i] + by.bias[i] + skip[i] * by.skip_scale[i];
        v[i] = args.is_relu ? relu(v[i]) : v[i];
        skip[i] = v[i] * by.row_scale[i];
    }
    if (args.y != nullptr)
        store((value *)args.y + at, skip);
}

template <int N> static __global__ void apply_kernel(struct bn_apply args, size_t pixels)
{
    const int c = tile_channel(N);
    if (c >= args.channels)
        return;
    struct affine<N> by;
    load_affine(args, c, by);
    tile_pixels(pixels, args.channels, c, [&](size_t at) {
        float v[N];
        apply_pixel(args, by, at, v);
    });
}

/* With a scale for each row. */
template <int N> static __global__ void apply_scaled_kernel(struct bn_apply args)
{
    const int channels = args.channels, c = tile_channel(N);
    struct affine<N> by = {
    };
    if (c >= channels)
        return;
    load_affine(args, c, by);
    for (int row = (int)blockIdx.y; row < args.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)args.pixels_per_row * (size_t)channels;
        load_plain(args.row_scale + (size_t)row * (size_t)channels + c, by.row_scale);
        tile_pixels((size_t)args.pixels_per_row, channels, c, [&](size_t at) {
            float v[N];
            apply_pixel(args, by, start + at, v);
        });
    }
}

/* With pooling a block has rows to itself. */
template <int N> static __global__ void apply_pooled_kernel(struct bn_apply args)
{
    const int channels = args.channels, c = tile_channel(N), channel = tile_sum_channel(N);
    struct affine<N> by = {
    };
    if (c < channels)
        load_affine(args, c, by);
    for (int row = (int)blockIdx.y; row < args.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)args.pixels_per_row * (size_t)channels;
        double total[1][N] = {};
        if (c < channels && args.row_scale != nullptr)
            load_plain(args.row_scale + (size_t)row * (size_t)channels + c, by.row_scale);
        if (c < channels)
            tile_sums<false>((size_t)args.pixels_per_row, channels, c, total,
                             [&](size_t at, float(&part)[1][N]) {
                                 float v[N];
                                 apply_pixel(args, by, start + at, v);
                                 for (int i = 0; i < N; i++)
                                     part[0][i] += v[i];
                             });
        const double sum = tile_sum(total[0]);
        if (channel < channels)
            args.pooled[(size_t)row * (size_t)channels + (size_t)channel] =
                (float)(sum / args.pixels_per_row);
    }
}

void KERNEL(bn_apply)(struct device *device, const struct bn_apply *args)
{
    constexpr int N = vector_of<value>();
    const size_t rows = (size_t)args->rows, pixels = rows * (size_t)args->pixels_per_row;
    const bool is_wide = is_vector<value>(args->channels, args->x, args->y, args->skip);
    const int n = is_wide ? N : 1;
    if (args->pooled == nullptr && args->row_scale != nullptr)
        LAUNCH((is_wide ? apply_scaled_kernel<N> : apply_scaled_kernel<1>),
               tile_blocks(rows, (size_t)args->pixels_per_row, args->channels, n), tile_threads(),
               cuda_stream(device), *args);
    else if (args->pooled == nullptr)
        LAUNCH((is_wide ? apply_kernel<N> : apply_kernel<1>),
               tile_blocks(1, pixels, args->channels, n), tile_threads(), cuda_stream(device),
               *args, pixels);
    else
        LAUNCH((is_wide ? apply_pooled_kernel<N> : apply_pooled_kernel<1>),
               tile_blocks(rows, 1, args->channels, n), tile_threads(), cuda_stream(device), *args);
    cuda_launched(device, "bn_apply");
}
