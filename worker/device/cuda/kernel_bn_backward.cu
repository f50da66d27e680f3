/* kernel_bn_backward.cu - the backward half of batch normalisation, fused with what surrounds it.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/tile.h"

using value = CUDA_VALUES;

/* Sums are of dz as computed, before it is rounded to an activation. */
template <int N> static __global__ void sums_kernel(struct bn_backward args, double *parts)
{
    const value *dy = (const value *)args.dy, *dy2 = (const value *)args.dy2;
    const value *y = (const value *)args.y, *x = (const value *)args.x;
    value *dz = (value *)args.dz;
    const int channels = args.channels, c = tile_channel(N);
    double total[2][N] = {};
    for (int row = (int)blockIdx.y; c < channels && row < args.rows; row += (int)gridDim.y) {
        const size_t start = (size_t)row * (size_t)args.pixels_per_row * (size_t)channels;
        const size_t row_at = (size_t)row * (size_t)channels + (size_t)c;
        float mean[N], scale[N], add[N];
        load_plain(args.mean + c, mean);
        for (int i = 0; i < N; i++) {
            scale[i] = args.row_scale == nullptr ? 1 : args.row_scale[row_at + i];
            add[i] = args.row_add == nullptr ? 0 : args.row_add[row_at + i];
        }
        tile_sums<false>((size_t)args.pixels_per_row, channels, c, total,
                         [&](size_t at, float(&part)[2][N]) {
                             float from[N] = {}, from2[N] = {}, mask[N], v[N], d[N];
                             load(x + start + at, v);
                             for (int i = 0; i < N; i++)
                                 mask[i] = 1;
                             if (dy != nullptr)
                                 load(dy + start + at, from);
                             if (dy2 != nullptr)
                                 load(dy2 + start + at, from2);
                             if (y != nullptr)
                                 load(y + start + at, mask);
                             for (int i = 0; i < N; i++) {
                                 d[i] = add[i] + from[i] * scale[i] + from2[i];
                                 d[i] = mask[i] > 0 ? d[i] : 0;
                                 part[0][i] += d[i];
                                 part[1][i] += d[i] * (v[i] - mean[i]);
                             }
                             store(dz + start + at, d);
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
    const value *dz, *x;
    const float *mean, *invstd, *gamma, *sums;
    value *dx;
    size_t pixels;
    float inverse_count;
    int channels;
};

/* dx = A dz + B (x - mean) + D per channel:
 * A = gamma*invstd, B = -A*invstd*sums[C+c]/count, D = -A*sums[c]/count. */
template <int N> static __global__ void apply_kernel(struct apply_args args)
{
    const int channels = args.channels, c = tile_channel(N);
    if (c >= channels)
        return;
    float mean[N], a[N], b[N], d[N];
    for (int i = 0; i < N; i++) {
        const float invstd = args.invstd[c + i];
        mean[i] = args.mean[c + i];
        a[i] = args.gamma[c + i] * invstd;
        const float share = -a[i] * args.inverse_count;
        b[i] = share * invstd * args.sums[channels + c + i];
        d[i] = share * args.sums[c + i];
    }
    tile_pixels(args.pixels, channels, c, [&](size_t at) {
        float v[N], dz[N];
        load(args.x + at, v);
        load(args.dz + at, dz);
        for (int i = 0; i < N; i++)
            v[i] = dz[i] * a[i] + ((v[i] - mean[i]) * b[i] + d[i]);
        store(args.dx + at, v);
    });
}

void KERNEL(bn_backward_apply)(struct device *device, const void *dz, const void *x,
                               const float *mean, const float *invstd, const float *gamma,
                               const float *sums, double count, size_t pixels, int channels,
                               void *dx)
{
    constexpr int N = vector_of<value>();
    const bool is_wide = is_vector<value>(channels, dz, x, dx);
    const struct apply_args args = {
        (const value *)dz,  (const value *)x, mean, invstd, gamma, sums, (value *)dx, pixels,
        (float)(1 / count), channels};
    LAUNCH((is_wide ? apply_kernel<N> : apply_kernel<1>),
           tile_blocks(1, pixels, channels, is_wide ? N : 1), tile_threads(), cuda_stream(device),
           args);
    cuda_launched(device, "bn_backward_apply");
}
