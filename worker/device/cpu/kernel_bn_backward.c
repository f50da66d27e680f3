/* kernel_bn_backward.c - the backward half of batch normalisation, fused with what surrounds it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include "worker/device/cpu/sums.h"

/* `pixels` pixels of one row, from value `at` of the tensors on; channels [span, span + SPAN). */
struct backward_job {
    const struct bn_backward *args;
    size_t at, row_at;
    int pixels, span;
    struct sums *sums;
};

ALWAYS_INLINE void backward_strip(const struct backward_job *job, int c, int width, int lanes)
{
    const struct bn_backward *args = job->args;
    const int pixels = job->pixels, channels = args->channels;
    const size_t at = job->at + (size_t)c, row_at = job->row_at + (size_t)c;
    const float *x = (const float *)args->x + at;
    const float *dy = args->dy == NULL ? NULL : (const float *)args->dy + at;
    const float *dy2 = args->dy2 == NULL ? NULL : (const float *)args->dy2 + at;
    const float *y = args->y == NULL ? NULL : (const float *)args->y + at;
    float *dz = (float *)args->dz + at;
    float *part = job->sums->part[0] + (c - job->span);
    float *part_x = job->sums->part[1] + (c - job->span);
    vec scale[4], add[4], mean[4], sum[4], sum_x[4];
    for (int i = 0; i < width; i++) {
        scale[i] = args->row_scale == NULL ? vec_all(1)
                                           : strip_load(args->row_scale + row_at, i, width, lanes);
        add[i] = args->row_add == NULL ? vec_all(0)
                                       : strip_load(args->row_add + row_at, i, width, lanes);
        mean[i] = strip_load(args->mean + c, i, width, lanes);
        sum[i] = vec_load(part + (ptrdiff_t)i * LANES);
        sum_x[i] = vec_load(part_x + (ptrdiff_t)i * LANES);
    }
    for (ptrdiff_t p = 0; p < (ptrdiff_t)pixels * channels; p += channels)
        for (int i = 0; i < width; i++) {
            vec d = add[i];
            if (dy != NULL)
                d += strip_load(dy + p, i, width, lanes) * scale[i];
            if (dy2 != NULL)
                d += strip_load(dy2 + p, i, width, lanes);
            if (y != NULL)
                d = vec_keep(d, (vec_bits)(strip_load(y + p, i, width, lanes) > 0.0f));
            strip_store(dz + p, d, i, width, lanes);
            sum[i] += d;
            sum_x[i] += d * (strip_load(x + p, i, width, lanes) - mean[i]);
        }
    for (int i = 0; i < width; i++) {
        vec_store(part + (ptrdiff_t)i * LANES, sum[i]);
        vec_store(part_x + (ptrdiff_t)i * LANES, sum_x[i]);
    }
}

static void backward_span(const struct bn_backward *args, int span, int end)
{
    const size_t channels = (size_t)args->channels;
    struct sums acc;
    sums_init(&acc, end - span);
    for (int row = 0; row < args->rows; row++)
        for (int first = 0; first < args->pixels_per_row; first += BLOCK) {
            const int left = args->pixels_per_row - first;
            const size_t pixel = (size_t)row * (size_t)args->pixels_per_row + (size_t)first;
            const struct backward_job job = {
                .args = args,
                .at = pixel * channels,
                .row_at = (size_t)row * channels,
                .pixels = left < BLOCK ? left : BLOCK,
                .span = span,
                .sums = &acc,
            };
            STRIPS(backward_strip, &job, span, end)
            sums_added(&acc, job.pixels, end - span);
        }
    sums_flush(&acc, end - span);
    for (int c = span; c < end; c++) {
        args->sums[c] = (float)acc.total[0][c - span];
        args->sums[args->channels + c] = (float)(acc.total[1][c - span] * (double)args->invstd[c]);
    }
}

void KERNEL(bn_backward_sums)(struct device *device, const struct bn_backward *args)
{
    (void)device;
    for (int span = 0; span < args->channels; span += SPAN)
        backward_span(args, span, args->channels - span < SPAN ? args->channels : span + SPAN);
}

/* dx = A dz + B (x - mean) + D per channel:
 * A = gamma*invstd, B = -A*invstd*sums[C+c]/count, D = -A*sums[c]/count. */
struct dx_job {
    const float *dz, *x, *mean, *invstd, *gamma, *sums;
    float *dx;
    float inverse_count;
    int pixels, channels;
};

ALWAYS_INLINE void dx_strip(const struct dx_job *job, int c, int width, int lanes)
{
    const int channels = job->channels;
    const float *dz = job->dz + c, *x = job->x + c;
    float *dx = job->dx + c;
    vec a[4], b[4], d[4], mean[4];
    for (int i = 0; i < width; i++) {
        vec invstd = strip_load(job->invstd + c, i, width, lanes);
        mean[i] = strip_load(job->mean + c, i, width, lanes);
        a[i] = strip_load(job->gamma + c, i, width, lanes) * invstd;
        vec share = a[i] * -job->inverse_count;
        d[i] = share * strip_load(job->sums + c, i, width, lanes);
        b[i] = share * invstd * strip_load(job->sums + channels + c, i, width, lanes);
    }
    for (ptrdiff_t p = 0; p < (ptrdiff_t)job->pixels * channels; p += channels)
        for (int i = 0; i < width; i++) {
            vec centred = strip_load(x + p, i, width, lanes) - mean[i];
            vec v = strip_load(dz + p, i, width, lanes) * a[i] + (centred * b[i] + d[i]);
            strip_store(dx + p, v, i, width, lanes);
        }
}

void KERNEL(bn_backward_apply)(struct device *device, const void *dz, const void *x,
                               const float *mean, const float *invstd, const float *gamma,
                               const float *sums, double count, size_t pixels, int channels,
                               void *dx)
{
    (void)device;
    for (size_t first = 0; first < pixels; first += BLOCK) {
        const size_t at = first * (size_t)channels;
        const struct dx_job job = {
            .dz = (const float *)dz + at,
            .x = (const float *)x + at,
            .mean = mean,
            .invstd = invstd,
            .gamma = gamma,
            .sums = sums,
            .dx = (float *)dx + at,
            .inverse_count = (float)(1 / count),
            .pixels = pixels - first < BLOCK ? (int)(pixels - first) : BLOCK,
            .channels = channels,
        };
        STRIPS(dx_strip, &job, 0, channels)
    }
}
