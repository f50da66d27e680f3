/* kernel_rows.c - rows of fp32 values: bias, activation, normalisation to unit length. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include <math.h>

#include "worker/device/cpu/dot.h"
#include "worker/device/cpu/sums.h"

ALWAYS_INLINE vec activate(vec v, enum activation activation)
{
    if (activation == ACTIVATION_RELU)
        return vec_relu(v);
    if (activation == ACTIVATION_SIGMOID)
        return 1.0f / (1.0f + vec_exp(-v));
    return v;
}

void KERNEL(bias_activation)(struct device *device, const float *x, const float *bias, int rows,
                             int columns, enum activation activation, float *y)
{
    (void)device;
    const size_t n = (size_t)columns;
    for (size_t at = 0; at < (size_t)rows * n; at += n)
        for (size_t i = 0; i < n; i += LANES) {
            const int lanes = dot_lanes(i, n);
            vec v = vec_load_part(x + at + i, lanes);
            if (bias != NULL)
                v += vec_load_part(bias + i, lanes);
            vec_store_part(y + at + i, activate(v, activation), lanes);
        }
}

/* `rows` rows join the column sums of [span, span + SPAN). */
struct column_job {
    const float *x;
    int rows, columns, span;
    struct sums *sums;
};

ALWAYS_INLINE void column_strip(const struct column_job *job, int c, int width, int lanes)
{
    float *part = job->sums->part[0] + (c - job->span);
    vec sum[4];
    for (int i = 0; i < width; i++)
        sum[i] = vec_load(part + (ptrdiff_t)i * LANES);
    for (ptrdiff_t row = 0; row < job->rows; row++)
        for (int i = 0; i < width; i++)
            sum[i] += strip_load(job->x + row * job->columns + c, i, width, lanes);
    for (int i = 0; i < width; i++)
        vec_store(part + (ptrdiff_t)i * LANES, sum[i]);
}

static void column_sums(const float *x, int rows, int columns, int accumulate, float *y)
{
    for (int span = 0; span < columns; span += SPAN) {
        const int end = columns - span < SPAN ? columns : span + SPAN;
        struct sums acc;
        sums_init(&acc, end - span);
        for (int first = 0; first < rows; first += BLOCK) {
            const struct column_job job = {
                .x = x + (size_t)first * (size_t)columns,
                .rows = rows - first < BLOCK ? rows - first : BLOCK,
                .columns = columns,
                .span = span,
                .sums = &acc,
            };
            STRIPS(column_strip, &job, span, end)
            sums_added(&acc, job.rows, end - span);
        }
        sums_flush(&acc, end - span);
        for (int c = span; c < end; c++)
            y[c] = (float)(acc.total[0][c - span] + (accumulate ? (double)y[c] : 0));
    }
}

void KERNEL(bias_activation_backward)(struct device *device, const float *dy, const float *y,
                                      int rows, int columns, enum activation activation, float *dx,
                                      float *dbias, int accumulate)
{
    (void)device;
    const size_t n = (size_t)rows * (size_t)columns;
    for (size_t i = 0; i < n; i += LANES) {
        const int lanes = dot_lanes(i, n);
        vec d = vec_load_part(dy + i, lanes);
        if (activation != ACTIVATION_NONE) {
            vec v = vec_load_part(y + i, lanes);
            d = activation == ACTIVATION_RELU ? vec_keep(d, (vec_bits)(v > 0.0f))
                                              : d * (v * (1.0f - v));
        }
        vec_store_part(dx + i, d, lanes);
    }
    if (dbias != NULL)
        column_sums(dx, rows, columns, accumulate, dbias);
}

/* torch F.normalize: rows shorter than this are divided by it. */
static const double norm_least = 1e-12;

void KERNEL(normalize_rows)(struct device *device, const float *z, int rows, int columns,
                            float *zhat, float *norms)
{
    (void)device;
    const size_t n = (size_t)columns;
    for (int row = 0; row < rows; row++) {
        const float *from = z + (size_t)row * n;
        float *to = zhat + (size_t)row * n;
        const double norm = sqrt(dot(from, from, n));
        const float scale = (float)(1 / (norm < norm_least ? norm_least : norm));
        norms[row] = (float)norm;
        for (size_t i = 0; i < n; i++)
            to[i] = from[i] * scale;
    }
}

void KERNEL(normalize_rows_backward)(struct device *device, const float *dzhat, const float *zhat,
                                     const float *norms, int rows, int columns, float *dz)
{
    (void)device;
    const size_t n = (size_t)columns;
    for (int row = 0; row < rows; row++) {
        const float *d = dzhat + (size_t)row * n, *unit = zhat + (size_t)row * n;
        float *to = dz + (size_t)row * n;
        const int is_short = (double)norms[row] < norm_least;
        const float along = is_short ? 0 : (float)dot(d, unit, n);
        const float scale = (float)(1 / (is_short ? norm_least : (double)norms[row]));
        for (size_t i = 0; i < n; i++)
            to[i] = (d[i] - unit[i] * along) * scale;
    }
}
