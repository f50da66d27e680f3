/* cases_bn.c - the pieces of batch normalisation against fp64 loops. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"

#include <math.h>

/* Sums over pixels are fp32 over 64 pixels and fp64 beyond: 1e-5 of the largest is generous.
 * Elementwise results round a few times: 1e-6. */
static const double sum_bound = 1e-5, value_bound = 1e-6;

struct size {
    size_t rows, pixels, channels, total; /* pixels: of a row; total: values */
};

static struct size size_of(const struct case_shape *c)
{
    struct size s = {(size_t)c->rows, (size_t)(c->height * c->width), (size_t)c->channels, 0};
    s.total = s.rows * s.pixels * s.channels;
    return s;
}

void case_bn_sums(struct fixture *f, const struct case_shape *c)
{
    const struct size s = size_of(c);
    float *x = fixture_uniform(f, s.total, 9, 12); /* a mean far from 0: what the shift is for */
    float *shift = fixture_uniform(f, s.channels, 10, 11);
    float *sums = fixture_poisoned(f, 2 * s.channels);
    double *want = fixture_doubles(f, 2 * s.channels);
    for (size_t i = 0; i < s.total; i++) {
        const double d = (double)x[i] - (double)shift[i % s.channels];
        want[i % s.channels] += d;
        want[s.channels + i % s.channels] += d * d;
    }
    f->ops->bn_sums(f->device, x, s.rows * s.pixels, c->channels, shift, sums);
    expect_near(f, "sums", sums, want, 2 * s.channels, sum_bound);
}

void case_bn_finalize(struct fixture *f, const struct case_shape *c)
{
    const size_t n = (size_t)c->channels;
    const double count = (double)c->rows * c->height * c->width, eps = (double)1e-5f;
    float *sums = fixture_poisoned(f, 2 * n), *shift = fixture_normal(f, n);
    float *d = fixture_normal(f, n), *variance = fixture_uniform(f, n, 0.1, 2);
    float *gamma = fixture_normal(f, n), *beta = fixture_normal(f, n);
    float *got[6];
    double *want[6];
    for (int i = 0; i < 6; i++) {
        got[i] = fixture_poisoned(f, n);
        want[i] = fixture_doubles(f, n);
    }
    for (size_t k = 0; k < n; k++) {
        sums[k] = d[k] * (float)count;
        sums[n + k] = (variance[k] + d[k] * d[k]) * (float)count;
        const double mean_d = (double)sums[k] / count;
        const double var = (double)sums[n + k] / count - mean_d * mean_d;
        const double mean = (double)shift[k] + mean_d, invstd = 1 / sqrt(var + eps);
        want[0][k] = mean;
        want[1][k] = invstd;
        want[2][k] = (double)gamma[k] * invstd;
        want[3][k] = (double)beta[k] - mean * (double)gamma[k] * invstd;
        want[4][k] = mean;
        want[5][k] = count > 1 ? var * count / (count - 1) : var;
    }
    const struct bn_finalize args = {sums,   shift,  count,  gamma,  beta,   1e-5f, c->channels,
                                     got[0], got[1], got[2], got[3], got[4], got[5]};
    f->ops->bn_finalize(f->device, &args);
    static const char *const names[] = {"mean", "invstd",     "scale",
                                        "bias", "batch_mean", "batch_var"};
    for (int i = 0; i < 6; i++)
        expect_near(f, names[i], got[i], want[i], n, value_bound);
}

/* bits of variant: skip, scaled skip, ReLU, pooled, in place */
enum { SKIP = 1, SKIP_SCALED = 2, RELU = 4, POOLED = 8, IN_PLACE = 16, VARIANTS = 32 };

static void apply_variant(struct fixture *f, const struct case_shape *c, int variant)
{
    const struct size s = size_of(c);
    fixture_begin(f, "bn_apply rows=%d %dx%d channels=%d variant=%d", c->rows, c->height, c->width,
                  c->channels, variant);
    float *x = fixture_normal(f, s.total), *skip = fixture_normal(f, s.total);
    float *scale = fixture_normal(f, s.channels), *bias = fixture_normal(f, s.channels);
    float *skip_scale = fixture_normal(f, s.channels), *skip_bias = fixture_normal(f, s.channels);
    float *y = variant & IN_PLACE ? x : fixture_poisoned(f, s.total);
    float *pooled = fixture_poisoned(f, s.rows * s.channels);
    double *want = fixture_doubles(f, s.total);
    double *want_pooled = fixture_doubles(f, s.rows * s.channels);
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels;
        double v = (double)x[i] * (double)scale[k] + (double)bias[k];
        if (variant & SKIP_SCALED)
            v += (double)skip[i] * (double)skip_scale[k] + (double)skip_bias[k];
        else if (variant & SKIP)
            v += (double)skip[i];
        want[i] = variant & RELU ? fmax(v, 0) : v;
        want_pooled[i / (s.pixels * s.channels) * s.channels + k] += want[i] / (double)s.pixels;
    }
    const struct bn_apply args = {
        .x = x,
        .scale = scale,
        .bias = bias,
        .skip = variant & (SKIP | SKIP_SCALED) ? skip : NULL,
        .skip_scale = variant & SKIP_SCALED ? skip_scale : NULL,
        .skip_bias = variant & SKIP_SCALED ? skip_bias : NULL,
        .is_relu = (variant & RELU) != 0,
        .rows = c->rows,
        .pixels_per_row = c->height * c->width,
        .channels = c->channels,
        .y = y,
        .pooled = variant & POOLED ? pooled : NULL,
    };
    f->ops->bn_apply(f->device, &args);
    expect_near(f, "y", y, want, s.total, value_bound);
    if (variant & POOLED)
        expect_near(f, "pooled", pooled, want_pooled, s.rows * s.channels, sum_bound);
}

void case_bn_apply(struct fixture *f, const struct case_shape *c)
{
    for (int variant = 0; variant < VARIANTS; variant++)
        apply_variant(f, c, variant);
}

/* bits of variant: which inputs there are, and dz over dy */
enum { DY = 1, DY2 = 2, ROW_SCALE = 4, ROW_ADD = 8, MASK = 16, OVER_DY = 32, BACKWARDS = 64 };

static void backward_variant(struct fixture *f, const struct case_shape *c, int variant)
{
    const struct size s = size_of(c);
    fixture_begin(f, "bn_backward_sums rows=%d %dx%d channels=%d variant=%d", c->rows, c->height,
                  c->width, c->channels, variant);
    float *dy = fixture_normal(f, s.total), *dy2 = fixture_normal(f, s.total);
    float *row_scale = fixture_normal(f, s.rows * s.channels);
    float *row_add = fixture_normal(f, s.rows * s.channels);
    float *y = fixture_normal(f, s.total), *x = fixture_normal(f, s.total);
    float *mean = fixture_normal(f, s.channels), *invstd = fixture_uniform(f, s.channels, 0.5, 2);
    float *dz = variant & OVER_DY ? dy : fixture_poisoned(f, s.total);
    float *sums = fixture_poisoned(f, 2 * s.channels);
    double *want = fixture_doubles(f, s.total), *want_sums = fixture_doubles(f, 2 * s.channels);
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels, row_k = i / (s.pixels * s.channels) * s.channels + k;
        double d = variant & DY ? (double)dy[i] : 0;
        d *= variant & ROW_SCALE ? (double)row_scale[row_k] : 1;
        d += variant & DY2 ? (double)dy2[i] : 0;
        d += variant & ROW_ADD ? (double)row_add[row_k] : 0;
        want[i] = variant & MASK && y[i] <= 0 ? 0 : d;
        want_sums[k] += want[i];
        want_sums[s.channels + k] += want[i] * ((double)x[i] - (double)mean[k]) * (double)invstd[k];
    }
    const struct bn_backward args = {
        .dy = variant & DY ? dy : NULL,
        .dy2 = variant & DY2 ? dy2 : NULL,
        .row_scale = variant & ROW_SCALE ? row_scale : NULL,
        .row_add = variant & ROW_ADD ? row_add : NULL,
        .y = variant & MASK ? y : NULL,
        .x = x,
        .mean = mean,
        .invstd = invstd,
        .rows = c->rows,
        .pixels_per_row = c->height * c->width,
        .channels = c->channels,
        .dz = dz,
        .sums = sums,
    };
    f->ops->bn_backward_sums(f->device, &args);
    expect_near(f, "dz", dz, want, s.total, value_bound);
    expect_near(f, "sums", sums, want_sums, 2 * s.channels, sum_bound);
}

void case_bn_backward_sums(struct fixture *f, const struct case_shape *c)
{
    for (int variant = 0; variant < BACKWARDS; variant++)
        backward_variant(f, c, variant);
}

void case_bn_backward_apply(struct fixture *f, const struct case_shape *c)
{
    const struct size s = size_of(c);
    const double count = 3.0 * (double)(s.rows * s.pixels); /* as if of three members */
    float *dz = fixture_normal(f, s.total), *x = fixture_normal(f, s.total);
    float *mean = fixture_normal(f, s.channels), *invstd = fixture_uniform(f, s.channels, 0.5, 2);
    float *gamma = fixture_normal(f, s.channels);
    float *sums = fixture_uniform(f, 2 * s.channels, -count, count);
    float *dx = fixture_poisoned(f, s.total);
    double *want = fixture_doubles(f, s.total);
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels;
        const double xhat = ((double)x[i] - (double)mean[k]) * (double)invstd[k];
        want[i] =
            (double)gamma[k] * (double)invstd[k] *
            ((double)dz[i] - (double)sums[k] / count - xhat * (double)sums[s.channels + k] / count);
    }
    f->ops->bn_backward_apply(f->device, dz, x, mean, invstd, gamma, sums, count, s.rows * s.pixels,
                              c->channels, dx);
    expect_near(f, "dx", dx, want, s.total, value_bound);
    f->ops->bn_backward_apply(f->device, dz, x, mean, invstd, gamma, sums, count, s.rows * s.pixels,
                              c->channels, dz);
    expect_near(f, "dx in place", dz, want, s.total, value_bound);
}

void case_running_update(struct fixture *f, const struct case_shape *c)
{
    const size_t n = (size_t)c->channels;
    float *running = fixture_normal(f, n), *batch = fixture_normal(f, n);
    double *want = fixture_doubles(f, n);
    for (size_t i = 0; i < n; i++)
        want[i] = 0.9 * (double)running[i] + 0.1 * (double)batch[i];
    f->ops->running_update(f->device, running, batch, n, 0.1f);
    expect_near(f, "running", running, want, n, value_bound);
}
