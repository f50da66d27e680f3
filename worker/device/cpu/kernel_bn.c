/* kernel_bn.c - the forward half of batch normalisation: sums, finalize, apply. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include <math.h>

#include "worker/device/cpu/sums.h"

/* `pixels` pixels of x join the sums of channels [span, span + SPAN). */
struct sums_job {
    const float *x; /* [pixels][channels] */
    const float *shift;
    int pixels, channels, span;
    struct sums *sums;
};

ALWAYS_INLINE void sums_strip(const struct sums_job *job, int c, int width, int lanes)
{
    const float *x = job->x + c;
    const int pixels = job->pixels, channels = job->channels;
    float *part = job->sums->part[0] + (c - job->span);
    float *part_square = job->sums->part[1] + (c - job->span);
    vec shift[4], sum[4], square[4];
    for (int i = 0; i < width; i++) {
        shift[i] = strip_load(job->shift + c, i, width, lanes);
        sum[i] = vec_load(part + (ptrdiff_t)i * LANES);
        square[i] = vec_load(part_square + (ptrdiff_t)i * LANES);
    }
    for (int p = 0; p < pixels; p++, x += channels)
        for (int i = 0; i < width; i++) {
            vec d = strip_load(x, i, width, lanes) - shift[i];
            sum[i] += d;
            square[i] += d * d;
        }
    for (int i = 0; i < width; i++) {
        vec_store(part + (ptrdiff_t)i * LANES, sum[i]);
        vec_store(part_square + (ptrdiff_t)i * LANES, square[i]);
    }
}

void KERNEL(bn_sums)(struct device *device, const void *x, size_t pixels, int channels,
                     const float *shift, float *sums)
{
    (void)device;
    for (int span = 0; span < channels; span += SPAN) {
        const int end = channels - span < SPAN ? channels : span + SPAN;
        struct sums acc;
        sums_init(&acc, end - span);
        for (size_t first = 0; first < pixels; first += BLOCK) {
            const struct sums_job job = {
                .x = (const float *)x + first * (size_t)channels,
                .shift = shift,
                .pixels = pixels - first < BLOCK ? (int)(pixels - first) : BLOCK,
                .channels = channels,
                .span = span,
                .sums = &acc,
            };
            STRIPS(sums_strip, &job, span, end)
            sums_added(&acc, job.pixels, end - span);
        }
        sums_flush(&acc, end - span);
        for (int c = span; c < end; c++) {
            sums[c] = (float)acc.total[0][c - span];
            sums[channels + c] = (float)acc.total[1][c - span];
        }
    }
}

/* Variance from shifted sums: E[d^2] - E[d]^2 with d = x - shift, in fp64; with shift near the mean
 * nothing cancels. */
void KERNEL(bn_finalize)(struct device *device, const struct bn_finalize *args)
{
    (void)device;
    const int channels = args->channels;
    const double unbiased = args->count > 1 ? args->count / (args->count - 1) : 1;
    for (int c = 0; c < channels; c++) {
        double d = (double)args->sums[c] / args->count;
        double variance = (double)args->sums[channels + c] / args->count - d * d;
        if (variance < 0)
            variance = 0;
        double mean = (double)args->shift[c] + d;
        double invstd = 1 / sqrt(variance + (double)args->eps);
        double scale = (double)args->gamma[c] * invstd;
        args->mean[c] = (float)mean;
        args->invstd[c] = (float)invstd;
        args->scale[c] = (float)scale;
        args->bias[c] = (float)((double)args->beta[c] - mean * scale);
        args->batch_mean[c] = (float)mean;
        args->batch_var[c] = (float)(variance * unbiased);
    }
}

/* `pixels` pixels of one row. */
struct apply_job {
    const struct bn_apply *args;
    const float *x, *skip;
    float *y, *pooled; /* pooled: sums so far */
    int pixels;
};

ALWAYS_INLINE void apply_strip(const struct apply_job *job, int c, int width, int lanes)
{
    const struct bn_apply *args = job->args;
    const int pixels = job->pixels, channels = args->channels, is_relu = args->is_relu;
    const int is_skip = job->skip != NULL, is_skip_scaled = is_skip && args->skip_scale != NULL;
    const int is_pooled = job->pooled != NULL;
    const float *x = job->x + c, *skip = is_skip ? job->skip + c : x;
    float *y = job->y + c;
    vec scale[4], bias[4], skip_scale[4], pooled[4];
    for (int i = 0; i < width; i++) {
        scale[i] = strip_load(args->scale + c, i, width, lanes);
        bias[i] = strip_load(args->bias + c, i, width, lanes);
        skip_scale[i] = vec_all(1);
        if (is_skip_scaled) {
            skip_scale[i] = strip_load(args->skip_scale + c, i, width, lanes);
            bias[i] += strip_load(args->skip_bias + c, i, width, lanes);
        }
        pooled[i] = is_pooled ? strip_load(job->pooled + c, i, width, lanes) : vec_all(0);
    }
    for (int p = 0; p < pixels; p++, x += channels, skip += channels, y += channels)
        for (int i = 0; i < width; i++) {
            vec v = strip_load(x, i, width, lanes) * scale[i] + bias[i];
            if (is_skip)
                v += strip_load(skip, i, width, lanes) * skip_scale[i];
            if (is_relu)
                v = vec_relu(v);
            strip_store(y, v, i, width, lanes);
            pooled[i] += v;
        }
    for (int i = 0; i < width && is_pooled; i++)
        strip_store(job->pooled + c, pooled[i], i, width, lanes);
}

static void apply_row(const struct bn_apply *args, int row)
{
    const size_t channels = (size_t)args->channels;
    const size_t start = (size_t)row * (size_t)args->pixels_per_row * channels;
    float *pooled = args->pooled == NULL ? NULL : args->pooled + (size_t)row * channels;
    if (pooled != NULL)
        memset(pooled, 0, channels * sizeof(float));
    for (int first = 0; first < args->pixels_per_row; first += BLOCK) {
        const size_t at = start + (size_t)first * channels;
        const int left = args->pixels_per_row - first;
        const struct apply_job job = {
            .args = args,
            .x = (const float *)args->x + at,
            .skip = args->skip == NULL ? NULL : (const float *)args->skip + at,
            .y = (float *)args->y + at,
            .pooled = pooled,
            .pixels = left < BLOCK ? left : BLOCK,
        };
        STRIPS(apply_strip, &job, 0, args->channels)
    }
    for (size_t c = 0; c < channels && pooled != NULL; c++)
        pooled[c] /= (float)args->pixels_per_row;
}

void KERNEL(bn_apply)(struct device *device, const struct bn_apply *args)
{
    (void)device;
    for (int row = 0; row < args->rows; row++)
        apply_row(args, row);
}

void KERNEL(running_update)(struct device *device, float *running, const float *batch, size_t n,
                            float momentum)
{
    (void)device;
    for (size_t i = 0; i < n; i++)
        running[i] = (1 - momentum) * running[i] + momentum * batch[i];
}
