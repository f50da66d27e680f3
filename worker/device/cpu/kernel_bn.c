/* kernel_bn.c - the forward half of batch normalisation: sums, finalize, apply. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include <math.h>

#include "worker/device/cpu/sums.h"

/* `pixels` pixels of x join the sums of channels [span, span + SPAN). */
struct sums_job {
    const stored *x; /* [pixels][channels] */
    const float *shift;
    int pixels, channels, span;
    struct sums *sums;
};

ALWAYS_INLINE void sums_strip(const struct sums_job *job, int c, int width, int lanes)
{
    const stored *x = job->x + c;
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
            vec d = strip_read(x, i, width, lanes) - shift[i];
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
                .x = (const stored *)x + first * (size_t)channels,
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

/* What y is made of and where it goes, which is known before the pixels are. */
enum { SKIP = 1, RELU = 2, ROWS = 4, STORED = 8, POOLED = 16 };

static int parts_of(const struct bn_apply *args)
{
    return (args->skip != NULL ? SKIP : 0) | (args->is_relu ? RELU : 0) |
           (args->row_scale != NULL ? ROWS : 0) | (args->y != NULL ? STORED : 0) |
           (args->pooled != NULL ? POOLED : 0);
}

/* `pixels` pixels of one row, from value `at` of the tensors on. */
struct apply_job {
    const struct bn_apply *args;
    size_t at, row_at;
    int pixels;
};

/* What each vector of a strip is multiplied with, and added to. */
struct affine {
    vec scale[4], bias[4], skip_scale[4], row_scale[4];
};

ALWAYS_INLINE struct affine affine_load(const struct apply_job *job, int parts, int c, int width,
                                        int lanes)
{
    const struct bn_apply *args = job->args;
    struct affine by;
    for (int i = 0; i < width; i++) {
        by.scale[i] = strip_load(args->scale + c, i, width, lanes);
        by.bias[i] = strip_load(args->bias + c, i, width, lanes);
        by.skip_scale[i] = by.row_scale[i] = vec_all(1);
        if (parts & SKIP && args->skip_scale != NULL) {
            by.skip_scale[i] = strip_load(args->skip_scale + c, i, width, lanes);
            by.bias[i] += strip_load(args->skip_bias + c, i, width, lanes);
        }
        if (parts & ROWS)
            by.row_scale[i] = strip_load(args->row_scale + job->row_at + c, i, width, lanes);
    }
    return by;
}

ALWAYS_INLINE void apply_strip(const struct apply_job *job, int parts, int c, int width, int lanes)
{
    const struct bn_apply *args = job->args;
    const struct affine by = affine_load(job, parts, c, width, lanes);
    const size_t at = job->at + (size_t)c;
    const stored *x = (const stored *)args->x + at;
    const stored *skip = parts & SKIP ? (const stored *)args->skip + at : NULL;
    stored *y = parts & STORED ? (stored *)args->y + at : NULL;
    float *pooled = parts & POOLED ? args->pooled + job->row_at + c : NULL;
    vec sum[4];
    for (int i = 0; i < width; i++)
        sum[i] = parts & POOLED ? strip_load(pooled, i, width, lanes) : vec_all(0);
    for (ptrdiff_t p = 0; p < (ptrdiff_t)job->pixels * args->channels; p += args->channels)
        for (int i = 0; i < width; i++) {
            vec v = strip_read(x + p, i, width, lanes) * by.scale[i] + by.bias[i];
            if (parts & SKIP)
                v += strip_read(skip + p, i, width, lanes) * by.skip_scale[i];
            if (parts & RELU)
                v = vec_relu(v);
            sum[i] += v;
            if (parts & ROWS)
                v *= by.row_scale[i];
            if (parts & STORED)
                strip_write(y + p, v, i, width, lanes);
        }
    for (int i = 0; i < width && parts & POOLED; i++)
        strip_store(pooled, sum[i], i, width, lanes);
}

/* One loop for each combination that networks have: a, b twice, c, and any others. */
static void apply_block(const struct apply_job *job, int parts)
{
    const int end = job->args->channels;
    switch (parts) {
        STRIPS_CASE(apply_strip, job, RELU | STORED, 0, end)
        STRIPS_CASE(apply_strip, job, RELU | POOLED, 0, end)
        STRIPS_CASE(apply_strip, job, RELU | ROWS | STORED, 0, end)
        STRIPS_CASE(apply_strip, job, SKIP | RELU | STORED, 0, end)
    default:
        STRIPS_OF(apply_strip, job, parts, 0, end)
    }
}

static void apply_row(const struct bn_apply *args, int row)
{
    const size_t channels = (size_t)args->channels;
    const size_t start = (size_t)row * (size_t)args->pixels_per_row;
    const int parts = parts_of(args);
    float *pooled = args->pooled == NULL ? NULL : args->pooled + (size_t)row * channels;
    if (pooled != NULL)
        memset(pooled, 0, channels * sizeof(float));
    for (int first = 0; first < args->pixels_per_row; first += BLOCK) {
        const int left = args->pixels_per_row - first;
        const struct apply_job job = {
            .args = args,
            .at = (start + (size_t)first) * channels,
            .row_at = (size_t)row * channels,
            .pixels = left < BLOCK ? left : BLOCK,
        };
        apply_block(&job, parts);
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
