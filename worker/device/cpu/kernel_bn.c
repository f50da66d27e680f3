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

void KERNEL(bn_sums)(struct device *device, const struct bn_sums *args)
{
    (void)device;
    const size_t pixels = (size_t)args->rows * (size_t)args->pixels_per_row;
    const int channels = args->channels;
    for (int span = 0; span < channels; span += SPAN) {
        const int end = channels - span < SPAN ? channels : span + SPAN;
        struct sums acc;
        sums_init(&acc, end - span);
        for (size_t first = 0; first < pixels; first += PIXELS_NEAR) {
            const struct sums_job job = {
                .x = (const stored *)args->x + first * (size_t)channels,
                .shift = args->shift,
                .pixels = pixels - first < PIXELS_NEAR ? (int)(pixels - first) : PIXELS_NEAR,
                .channels = channels,
                .span = span,
                .sums = &acc,
            };
            STRIPS(sums_strip, &job, span, end)
            sums_added(&acc, job.pixels, end - span);
        }
        sums_flush(&acc, end - span);
        for (int c = span; c < end; c++) {
            args->sums[c] = (float)acc.total[0][c - span];
            args->sums[channels + c] = (float)acc.total[1][c - span];
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
enum { SKIP = 1, SKIP_SCALED = 2, RELU = 4, ROWS = 8, STORED = 16, POOLED = 32 };

static int parts_of(const struct bn_apply *args)
{
    return (args->skip != NULL ? SKIP : 0) | (args->skip_scale != NULL ? SKIP_SCALED : 0) |
           (args->is_relu ? RELU : 0) | (args->row_scale != NULL ? ROWS : 0) |
           (args->y != NULL ? STORED : 0) | (args->pooled != NULL ? POOLED : 0);
}

/* One row of everything. */
struct apply_row {
    const struct bn_apply *args;
    const stored *x, *skip;
    stored *y;
    const float *row_scale;
    float *pooled;
};

/* The vector of channels from c on of the pixel that begins at value `at`. */
ALWAYS_INLINE void apply_vec(const struct apply_row *row, int parts, ptrdiff_t at, int c, int lanes)
{
    const struct bn_apply *args = row->args;
    vec v = lanes_read(row->x + at + c, lanes) * lanes_load(args->scale + c, lanes) +
            lanes_load(args->bias + c, lanes);
    if (parts & SKIP_SCALED)
        v += lanes_read(row->skip + at + c, lanes) * lanes_load(args->skip_scale + c, lanes) +
             lanes_load(args->skip_bias + c, lanes);
    else if (parts & SKIP)
        v += lanes_read(row->skip + at + c, lanes);
    if (parts & RELU)
        v = vec_relu(v);
    if (parts & POOLED)
        lanes_store(row->pooled + c, lanes_load(row->pooled + c, lanes) + v, lanes);
    if (parts & ROWS)
        v *= lanes_load(row->row_scale + c, lanes);
    if (parts & STORED)
        lanes_write(row->y + at + c, v, lanes);
}

/* Pixel by pixel: the processor fetches ahead what is read in order. */
ALWAYS_INLINE void apply_pixels(const struct apply_row *row, int parts)
{
    const int channels = row->args->channels;
    const ptrdiff_t end = (ptrdiff_t)row->args->pixels_per_row * channels;
    for (ptrdiff_t at = 0; at < end; at += channels) {
        int c = 0;
        for (; c + LANES <= channels; c += LANES)
            apply_vec(row, parts, at, c, LANES);
        if (c < channels)
            apply_vec(row, parts, at, c, channels - c);
    }
}

/* One loop for each combination that networks have: a, b twice, c twice, and any others. */
static void apply_parts(const struct apply_row *row, int parts)
{
    if (parts == (RELU | STORED))
        apply_pixels(row, RELU | STORED);
    else if (parts == (RELU | POOLED))
        apply_pixels(row, RELU | POOLED);
    else if (parts == (RELU | ROWS | STORED))
        apply_pixels(row, RELU | ROWS | STORED);
    else if (parts == (SKIP | RELU | STORED))
        apply_pixels(row, SKIP | RELU | STORED);
    else if (parts == (SKIP | SKIP_SCALED | RELU | STORED))
        apply_pixels(row, SKIP | SKIP_SCALED | RELU | STORED);
    else
        apply_pixels(row, parts);
}

static void apply_row(const struct bn_apply *args, int index)
{
    const size_t channels = (size_t)args->channels, vector = (size_t)index * channels;
    const size_t first = vector * (size_t)args->pixels_per_row;
    const int parts = parts_of(args);
    const struct apply_row row = {
        .args = args,
        .x = (const stored *)args->x + first,
        .skip = parts & SKIP ? (const stored *)args->skip + first : NULL,
        .y = parts & STORED ? (stored *)args->y + first : NULL,
        .row_scale = parts & ROWS ? args->row_scale + vector : NULL,
        .pooled = parts & POOLED ? args->pooled + vector : NULL,
    };
    if (parts & POOLED)
        memset(row.pooled, 0, channels * sizeof(float));
    apply_parts(&row, parts);
    for (size_t c = 0; c < channels && parts & POOLED; c++)
        row.pooled[c] /= (float)args->pixels_per_row;
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
