/* kernel_bn_backward.cu - the backward half of batch normalisation, fused with what surrounds it.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/tile.h"

using value = CUDA_VALUES;

/* What a thread needs of its channels in one row. */
template <int N> struct channels_of {
    float scale[N], bias[N], mean[N], row_scale[N], row_add[N];
};

template <int N>
static __device__ inline void load_channels(const struct bn_backward &args, int row, int c,
                                            struct channels_of<N> &of)
{
    const size_t row_at = (size_t)row * (size_t)args.channels + (size_t)c;
    const bool is_by_x = args.is_relu && args.y == nullptr;
    load_plain(args.mean + c, of.mean);
    for (int i = 0; i < N; i++) {
        of.scale[i] = is_by_x ? args.scale[c + i] : 0;
        of.bias[i] = is_by_x ? args.bias[c + i] : 1;
        of.row_scale[i] = args.row_scale == nullptr ? 1 : args.row_scale[row_at + i];
        of.row_add[i] = args.row_add == nullptr ? 0 : args.row_add[row_at + i];
    }
}

/* x and dz of one pixel. */
template <int N>
static __device__ inline void load_dz(const struct bn_backward &args,
                                      const struct channels_of<N> &of, size_t at, float (&v)[N],
                                      float (&d)[N])
{
    float from[N] = {}, from2[N] = {}, mask[N];
    load((const value *)args.x + at, v);
    if (args.dy != nullptr)
        load((const value *)args.dy + at, from);
    if (args.dy2 != nullptr)
        load((const value *)args.dy2 + at, from2);
    for (int i = 0; i < N; i++)
        mask[i] = v[i] * of.scale[i] + of.bias[i];
    if (args.is_relu && args.y != nullptr)
        load((const value *)args.y + at, mask);
    for (int i = 0; i < N; i++) {
        d[i] = of.row_add[i] + from[i] * of.row_scale[i] + from2[i];
        d[i] = mask[i] > 0 ? d[i] : 0;
    }
}

/* Sums are of dz as computed, before it is rounded to an activation. */
template <int N> static __global__ void sums_kernel(struct bn_backward args, double *parts)
{
    const int channels = args.channels, c = tile_channel(N);
    double total[2][N] = {};
    for (int row = (int)blockIdx.y; c < channels && row < args.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)args.pixels_per_row * (size_t)channels;
        struct channels_of<N> of;
        load_channels(args, row, c, of);
        tile_sums<false>((size_t)args.pixels_per_row, channels, c, total,
                         [&](size_t at, float(&part)[2][N]) {
                             float v[N], d[N];
                             load_dz(args, of, start + at, v, d);
                             for (int i = 0; i < N; i++) {
                                 part[0][i] += d[i];
                                 part[1][i] += d[i] * (v[i] - of.mean[i]);
                             }
                             if (args.dz != nullptr)
                                 store((value *)args.dz + start + at, d);
                         });
    }
    tile_store_parts(total, channels, parts);
}

void KERNEL(bn_backward_sums)(struct device *device, const struct bn_backward *args)
{
    constexpr int N = vector_of<value>();
    const int channels = args->channels;
    const bool is_wide =
        is_vector<value>(channels, args->dy, args->dy2, args->y, args->x, args->dz);
    const dim3 blocks =
        tile_blocks((size_t)args->rows, (size_t)args->pixels_per_row, channels, is_wide ? N : 1);
    const size_t count = 2 * (size_t)channels;
    double *parts =
        (double *)cuda_parts(device, (size_t)tile_parts(blocks) * count * sizeof(double));
    if (parts == nullptr)
        return;
    LAUNCH((is_wide ? sums_kernel<N> : sums_kernel<1>), blocks, tile_threads(), cuda_stream(device),
           *args, parts);
    cuda_launched(device, "bn_backward_sums");
    const struct parts_sum sum = {parts, tile_parts(blocks), count, args->invstd, 0, args->sums};
    cuda_parts_sum(device, &sum);
}

struct apply_args {
    struct bn_backward of;
    const float *gamma, *sums;
    value *dx;
    float inverse_count;
};

/* dx = A dz + B (x - mean) + D per channel:
 * A = gamma*invstd, B = -A*invstd*sums[C+c]/count, D = -A*sums[c]/count. */
template <int N> static __global__ void apply_kernel(struct apply_args args)
{
    const struct bn_backward &from = args.of;
    const int channels = from.channels, c = tile_channel(N);
    float a[N], b[N], d[N];
    if (c >= channels)
        return;
    for (int i = 0; i < N; i++) {
        const float invstd = from.invstd[c + i];
        a[i] = args.gamma[c + i] * invstd;
        const float share = -a[i] * args.inverse_count;
        b[i] = share * invstd * args.sums[channels + c + i];
        d[i] = share * args.sums[c + i];
    }
    for (int row = (int)blockIdx.y; row < from.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)from.pixels_per_row * (size_t)channels;
        struct channels_of<N> of;
        load_channels(from, row, c, of);
        tile_pixels((size_t)from.pixels_per_row, channels, c, [&](size_t at) {
            float v[N], dz[N];
            load_dz(from, of, start + at, v, dz);
            for (int i = 0; i < N; i++)
                v[i] = dz[i] * a[i] + ((v[i] - of.mean[i]) * b[i] + d[i]);
            store(args.dx + start + at, v);
        });
    }
}

/* With dz written down it is what dy was, and rows are as one. */
static struct bn_backward written(const struct bn_backward *args)
{
    struct bn_backward of = {};
    of.dy = args->dz;
    of.x = args->x;
    of.mean = args->mean;
    of.invstd = args->invstd;
    of.rows = 1;
    of.pixels_per_row = args->rows * args->pixels_per_row;
    of.channels = args->channels;
    return of;
}

void KERNEL(bn_backward_apply)(struct device *device, const struct bn_backward *args,
                               const float *gamma, const float *sums, double count, void *dx)
{
    constexpr int N = vector_of<value>();
    const struct apply_args apply = {args->dz != nullptr ? written(args) : *args, gamma, sums,
                                     (value *)dx, (float)(1 / count)};
    const struct bn_backward &of = apply.of;
    const bool is_wide = is_vector<value>(of.channels, of.dy, of.dy2, of.y, of.x, dx);
    LAUNCH((is_wide ? apply_kernel<N> : apply_kernel<1>),
           tile_blocks((size_t)of.rows, (size_t)of.pixels_per_row, of.channels, is_wide ? N : 1),
           tile_threads(), cuda_stream(device), apply);
    cuda_launched(device, "bn_backward_apply");
}

/* One block sums a row of pixels, for its channels. */
template <int N> static __global__ void scale_backward_kernel(struct bn_backward args, float *ds)
{
    const int channels = args.channels, c = tile_channel(N), channel = tile_sum_channel(N);
    float scale[N] = {}, bias[N] = {};
    if (c < channels) {
        load_plain(args.scale + c, scale);
        load_plain(args.bias + c, bias);
    }
    for (int row = (int)blockIdx.y; row < args.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)args.pixels_per_row * (size_t)channels;
        double total[1][N] = {};
        if (c < channels)
            tile_sums<true>((size_t)args.pixels_per_row, channels, c, total,
                            [&](size_t at, float(&part)[1][N]) {
                                float v[N], d[N];
                                load((const value *)args.x + start + at, v);
                                load((const value *)args.dy + start + at, d);
                                for (int i = 0; i < N; i++)
                                    part[0][i] += d[i] * relu(v[i] * scale[i] + bias[i]);
                            });
        const double sum = tile_sum(total[0]);
        if (channel < channels)
            ds[(size_t)row * (size_t)channels + (size_t)channel] = (float)sum;
    }
}

void KERNEL(row_scale_backward)(struct device *device, const struct bn_backward *args, float *ds)
{
    constexpr int N = vector_of<value>();
    const bool is_wide = is_vector<value>(args->channels, args->dy, args->x);
    LAUNCH((is_wide ? scale_backward_kernel<N> : scale_backward_kernel<1>),
           tile_blocks((size_t)args->rows, 1, args->channels, is_wide ? N : 1), tile_threads(),
           cuda_stream(device), *args, ds);
    cuda_launched(device, "row_scale_backward");
}
