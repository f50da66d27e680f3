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
    /* A mean far from 0: what the shift is for. */
    const struct array *x = fixture_uniform(f, ACTIVATIONS, s.total, 9, 12);
    const struct array *shift = fixture_uniform(f, FLOATS, s.channels, 10, 11);
    const struct array *sums = fixture_poisoned(f, FLOATS, 2 * s.channels);
    double *want = fixture_doubles(f, 2 * s.channels);
    for (size_t i = 0; i < s.total; i++) {
        const double d = (double)x->host[i] - (double)shift->host[i % s.channels];
        want[i % s.channels] += d;
        want[s.channels + i % s.channels] += d * d;
    }
    f->ops->bn_sums(f->device, x->on, s.rows * s.pixels, c->channels, shift->on, sums->on);
    expect_near(f, "sums", sums, want, sum_bound);
}

/* sums[0..n) = d count, sums[n..2n) = (variance + d^2) count: of values with this mean distance d
 * from the shift and this variance. */
static const struct array *make_sums(struct fixture *f, size_t n, double count)
{
    const struct array *d = fixture_normal(f, FLOATS, n);
    const struct array *variance = fixture_uniform(f, FLOATS, n, 0.1, 2);
    const struct array *sums = fixture_poisoned(f, FLOATS, 2 * n);
    for (size_t k = 0; k < n; k++) {
        const float shifted = d->host[k];
        sums->host[k] = shifted * (float)count;
        sums->host[n + k] = (variance->host[k] + shifted * shifted) * (float)count;
    }
    array_push(f, sums);
    return sums;
}

void case_bn_finalize(struct fixture *f, const struct case_shape *c)
{
    const size_t n = (size_t)c->channels;
    const double count = (double)c->rows * c->height * c->width, eps = (double)1e-5f;
    const struct array *sums = make_sums(f, n, count), *shift = fixture_normal(f, FLOATS, n);
    const struct array *gamma = fixture_normal(f, FLOATS, n), *beta = fixture_normal(f, FLOATS, n);
    const struct array *got[6];
    double *want[6];
    for (int i = 0; i < 6; i++) {
        got[i] = fixture_poisoned(f, FLOATS, n);
        want[i] = fixture_doubles(f, n);
    }
    for (size_t k = 0; k < n; k++) {
        const double mean_d = (double)sums->host[k] / count;
        const double var = (double)sums->host[n + k] / count - mean_d * mean_d;
        const double mean = (double)shift->host[k] + mean_d, invstd = 1 / sqrt(var + eps);
        const double scale = (double)gamma->host[k] * invstd;
        want[0][k] = mean;
        want[1][k] = invstd;
        want[2][k] = scale;
        want[3][k] = (double)beta->host[k] - mean * scale;
        want[4][k] = mean;
        want[5][k] = count > 1 ? var * count / (count - 1) : var;
    }
    const struct bn_finalize args = {sums->on,   shift->on,   count,      gamma->on,  beta->on,
                                     1e-5f,      c->channels, got[0]->on, got[1]->on, got[2]->on,
                                     got[3]->on, got[4]->on,  got[5]->on};
    f->ops->bn_finalize(f->device, &args);
    static const char *const names[] = {"mean", "invstd",     "scale",
                                        "bias", "batch_mean", "batch_var"};
    for (int i = 0; i < 6; i++)
        expect_near(f, names[i], got[i], want[i], value_bound);
}

/* bits of variant: skip, scaled skip, ReLU, pooled, in place */
enum { SKIP = 1, SKIP_SCALED = 2, RELU = 4, POOLED = 8, IN_PLACE = 16, VARIANTS = 32 };

static void apply_variant(struct fixture *f, const struct case_shape *c, int variant)
{
    const struct size s = size_of(c);
    fixture_begin(f, "bn_apply rows=%d %dx%d channels=%d variant=%d", c->rows, c->height, c->width,
                  c->channels, variant);
    const struct array *x = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *skip = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *scale = fixture_normal(f, FLOATS, s.channels);
    const struct array *bias = fixture_normal(f, FLOATS, s.channels);
    const struct array *skip_scale = fixture_normal(f, FLOATS, s.channels);
    const struct array *skip_bias = fixture_normal(f, FLOATS, s.channels);
    const struct array *y = variant & IN_PLACE ? x : fixture_poisoned(f, ACTIVATIONS, s.total);
    const struct array *pooled = fixture_poisoned(f, FLOATS, s.rows * s.channels);
    double *want = fixture_doubles(f, s.total);
    double *want_pooled = fixture_doubles(f, s.rows * s.channels);
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels;
        double v = (double)x->host[i] * (double)scale->host[k] + (double)bias->host[k];
        if (variant & SKIP_SCALED)
            v += (double)skip->host[i] * (double)skip_scale->host[k] + (double)skip_bias->host[k];
        else if (variant & SKIP)
            v += (double)skip->host[i];
        want[i] = variant & RELU ? fmax(v, 0) : v;
        want_pooled[i / (s.pixels * s.channels) * s.channels + k] += want[i] / (double)s.pixels;
    }
    const struct bn_apply args = {
        .x = x->on,
        .scale = scale->on,
        .bias = bias->on,
        .skip = variant & (SKIP | SKIP_SCALED) ? skip->on : NULL,
        .skip_scale = variant & SKIP_SCALED ? skip_scale->on : NULL,
        .skip_bias = variant & SKIP_SCALED ? skip_bias->on : NULL,
        .is_relu = (variant & RELU) != 0,
        .rows = c->rows,
        .pixels_per_row = c->height * c->width,
        .channels = c->channels,
        .y = y->on,
        .pooled = variant & POOLED ? pooled->on : NULL,
    };
    f->ops->bn_apply(f->device, &args);
    expect_near(f, "y", y, want, value_bound);
    if (variant & POOLED)
        expect_near(f, "pooled", pooled, want_pooled, sum_bound);
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
    const struct array *dy = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *dy2 = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *row_scale = fixture_normal(f, FLOATS, s.rows * s.channels);
    const struct array *row_add = fixture_normal(f, FLOATS, s.rows * s.channels);
    const struct array *y = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *x = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *mean = fixture_normal(f, FLOATS, s.channels);
    const struct array *invstd = fixture_uniform(f, FLOATS, s.channels, 0.5, 2);
    const struct array *dz = variant & OVER_DY ? dy : fixture_poisoned(f, ACTIVATIONS, s.total);
    const struct array *sums = fixture_poisoned(f, FLOATS, 2 * s.channels);
    double *want = fixture_doubles(f, s.total), *want_sums = fixture_doubles(f, 2 * s.channels);
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels, row_k = i / (s.pixels * s.channels) * s.channels + k;
        double d = variant & DY ? (double)dy->host[i] : 0;
        d *= variant & ROW_SCALE ? (double)row_scale->host[row_k] : 1;
        d += variant & DY2 ? (double)dy2->host[i] : 0;
        d += variant & ROW_ADD ? (double)row_add->host[row_k] : 0;
        want[i] = variant & MASK && y->host[i] <= 0 ? 0 : d;
        const double xhat = ((double)x->host[i] - (double)mean->host[k]) * (double)invstd->host[k];
        want_sums[k] += want[i];
        want_sums[s.channels + k] += want[i] * xhat;
    }
    const struct bn_backward args = {
        .dy = variant & DY ? dy->on : NULL,
        .dy2 = variant & DY2 ? dy2->on : NULL,
        .row_scale = variant & ROW_SCALE ? row_scale->on : NULL,
        .row_add = variant & ROW_ADD ? row_add->on : NULL,
        .y = variant & MASK ? y->on : NULL,
        .x = x->on,
        .mean = mean->on,
        .invstd = invstd->on,
        .rows = c->rows,
        .pixels_per_row = c->height * c->width,
        .channels = c->channels,
        .dz = dz->on,
        .sums = sums->on,
    };
    f->ops->bn_backward_sums(f->device, &args);
    expect_near(f, "dz", dz, want, value_bound);
    expect_near(f, "sums", sums, want_sums, sum_bound);
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
    const struct array *dz = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *x = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *mean = fixture_normal(f, FLOATS, s.channels);
    const struct array *invstd = fixture_uniform(f, FLOATS, s.channels, 0.5, 2);
    const struct array *gamma = fixture_normal(f, FLOATS, s.channels);
    const struct array *sums = fixture_uniform(f, FLOATS, 2 * s.channels, -count, count);
    const struct array *dx = fixture_poisoned(f, ACTIVATIONS, s.total);
    double *want = fixture_doubles(f, s.total);
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels;
        const double inverse = (double)invstd->host[k];
        const double xhat = ((double)x->host[i] - (double)mean->host[k]) * inverse;
        want[i] = (double)gamma->host[k] * inverse *
                  ((double)dz->host[i] - (double)sums->host[k] / count -
                   xhat * (double)sums->host[s.channels + k] / count);
    }
    f->ops->bn_backward_apply(f->device, dz->on, x->on, mean->on, invstd->on, gamma->on, sums->on,
                              count, s.rows * s.pixels, c->channels, dx->on);
    expect_near(f, "dx", dx, want, value_bound);
    f->ops->bn_backward_apply(f->device, dz->on, x->on, mean->on, invstd->on, gamma->on, sums->on,
                              count, s.rows * s.pixels, c->channels, dz->on);
    expect_near(f, "dx in place", dz, want, value_bound);
}

void case_running_update(struct fixture *f, const struct case_shape *c)
{
    const size_t n = (size_t)c->channels;
    const struct array *running = fixture_normal(f, FLOATS, n);
    const struct array *batch = fixture_normal(f, FLOATS, n);
    double *want = fixture_doubles(f, n);
    for (size_t i = 0; i < n; i++)
        want[i] = 0.9 * (double)running->host[i] + 0.1 * (double)batch->host[i];
    f->ops->running_update(f->device, running->on, batch->on, n, 0.1f);
    expect_near(f, "running", running, want, value_bound);
}
