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
    const struct bn_sums args = {x->on,       (int)s.rows, (int)s.pixels,
                                 c->channels, shift->on,   sums->on};
    f->ops->bn_sums(f->device, &args);
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

/* bits of variant: skip, scaled skip, ReLU, pooled, in place, scaled by rows */
enum { SKIP = 1, SKIP_SCALED = 2, RELU = 4, POOLED = 8, IN_PLACE = 16, SCALED = 32, VARIANTS = 64 };

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
    const struct array *row_scale = fixture_normal(f, FLOATS, s.rows * s.channels);
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
        const size_t row_k = i / (s.pixels * s.channels) * s.channels + k;
        want[i] = variant & RELU ? fmax(v, 0) : v;
        want_pooled[row_k] += want[i] / (double)s.pixels;
        want[i] *= variant & SCALED ? (double)row_scale->host[row_k] : 1;
    }
    struct bn_apply args = {
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
        .row_scale = variant & SCALED ? row_scale->on : NULL,
        .pooled = variant & POOLED ? pooled->on : NULL,
    };
    if (variant & POOLED) {
        f->ops->bn_apply(f->device, &args);
        expect_near(f, "pooled without y", pooled, want_pooled, sum_bound);
    }
    args.y = y->on;
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

/* bits of variant: which inputs there are, ReLU by y or by x, dz over dy or nowhere */
enum {
    DY = 1,
    DY2 = 2,
    ROW_SCALE = 4,
    ROW_ADD = 8,
    INPUTS = 16,
    BY_Y = 16,
    BY_X = 32,
    OVER_DY = 64,
    NO_DZ = 128
};

/* Inputs, and what is to come out: dz, its sums, and dx from given sums of three members. */
struct backward_case {
    struct size size;
    struct bn_backward args;
    const struct array *dy, *dz, *sums, *gamma, *given;
    double *want_dz, *want_sums, *want_dx;
};

static const struct array *part(struct fixture *f, enum array_kind kind, size_t count, int is_there,
                                const void **ret_on)
{
    const struct array *array = fixture_normal(f, kind, count);
    *ret_on = is_there ? array->on : NULL;
    return array;
}

static struct backward_case backward_make(struct fixture *f, const struct case_shape *c,
                                          int variant)
{
    const struct size s = size_of(c);
    const double count = 3.0 * (double)(s.rows * s.pixels);
    const size_t rows = s.rows * s.channels;
    const void *on[8];
    const struct array *dy = part(f, ACTIVATIONS, s.total, variant & DY, &on[0]);
    const struct array *dy2 = part(f, ACTIVATIONS, s.total, variant & DY2, &on[1]);
    const struct array *row_scale = part(f, FLOATS, rows, variant & ROW_SCALE, &on[2]);
    const struct array *row_add = part(f, FLOATS, rows, variant & ROW_ADD, &on[3]);
    const struct array *y = part(f, ACTIVATIONS, s.total, variant & BY_Y, &on[4]);
    const struct array *x = part(f, ACTIVATIONS, s.total, 1, &on[5]);
    const struct array *scale = part(f, FLOATS, s.channels, variant & BY_X, &on[6]);
    const struct array *bias = part(f, FLOATS, s.channels, variant & BY_X, &on[7]);
    const struct array *mean = fixture_normal(f, FLOATS, s.channels);
    const struct array *invstd = fixture_uniform(f, FLOATS, s.channels, 0.5, 2);
    struct backward_case made = {
        .size = s,
        .dy = dy,
        .dz = variant & OVER_DY ? dy : fixture_poisoned(f, ACTIVATIONS, s.total),
        .sums = fixture_poisoned(f, FLOATS, 2 * s.channels),
        .gamma = fixture_normal(f, FLOATS, s.channels),
        .given = fixture_uniform(f, FLOATS, 2 * s.channels, -count, count),
        .want_dz = fixture_doubles(f, s.total),
        .want_sums = fixture_doubles(f, 2 * s.channels),
        .want_dx = fixture_doubles(f, s.total),
    };
    made.args = (struct bn_backward){
        .dy = on[0],
        .dy2 = on[1],
        .row_scale = on[2],
        .row_add = on[3],
        .is_relu = (variant & (BY_Y | BY_X)) != 0,
        .y = on[4],
        .x = on[5],
        .scale = on[6],
        .bias = on[7],
        .mean = mean->on,
        .invstd = invstd->on,
        .rows = c->rows,
        .pixels_per_row = c->height * c->width,
        .channels = c->channels,
        .dz = variant & NO_DZ ? NULL : made.dz->on,
        .sums = made.sums->on,
    };
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels, row_k = i / (s.pixels * s.channels) * s.channels + k;
        const double value = (double)x->host[i], inverse = (double)invstd->host[k];
        double d = variant & DY ? (double)dy->host[i] : 0;
        d *= variant & ROW_SCALE ? (double)row_scale->host[row_k] : 1;
        d += variant & DY2 ? (double)dy2->host[i] : 0;
        d += variant & ROW_ADD ? (double)row_add->host[row_k] : 0;
        if (variant & BY_Y
                ? y->host[i] <= 0
                : variant & BY_X && value * (double)scale->host[k] + (double)bias->host[k] <= 0)
            d = 0;
        const double xhat = (value - (double)mean->host[k]) * inverse;
        made.want_dz[i] = d;
        made.want_sums[k] += d;
        made.want_sums[s.channels + k] += d * xhat;
        made.want_dx[i] = (double)made.gamma->host[k] * inverse *
                          (d - (double)made.given->host[k] / count -
                           xhat * (double)made.given->host[s.channels + k] / count);
    }
    return made;
}

static void backward_variant(struct fixture *f, const struct case_shape *c, int variant)
{
    fixture_begin(f, "bn_backward rows=%d %dx%d channels=%d variant=%d", c->rows, c->height,
                  c->width, c->channels, variant);
    const struct backward_case made = backward_make(f, c, variant);
    const struct size s = made.size;
    const double count = 3.0 * (double)(s.rows * s.pixels);
    /* What reads dz reads it rounded. */
    const double rounding = variant & NO_DZ ? 1 : 2;
    const struct array *dx = fixture_poisoned(f, ACTIVATIONS, s.total);
    f->ops->bn_backward_sums(f->device, &made.args);
    if (!(variant & NO_DZ))
        expect_near(f, "dz", made.dz, made.want_dz, value_bound);
    expect_near(f, "sums", made.sums, made.want_sums, sum_bound);
    f->ops->bn_backward_apply(f->device, &made.args, made.gamma->on, made.given->on, count, dx->on);
    expect_near(f, "dx", dx, made.want_dx, rounding * value_bound);
    void *over = variant & NO_DZ ? made.dy->on : made.dz->on;
    f->ops->bn_backward_apply(f->device, &made.args, made.gamma->on, made.given->on, count, over);
    expect_near(f, "dx in place", variant & NO_DZ ? made.dy : made.dz, made.want_dx,
                rounding * value_bound);
}

void case_bn_backward(struct fixture *f, const struct case_shape *c)
{
    static const int relu[] = {0, BY_Y, BY_X}, dz[] = {NO_DZ, OVER_DY, 0};
    for (int inputs = 0; inputs < INPUTS; inputs++)
        for (int i = 0; i < 3; i++)
            backward_variant(f, c, inputs | relu[i] | dz[(inputs + i) % 3]);
    backward_variant(f, c, DY | BY_X | NO_DZ);
    backward_variant(f, c, DY | ROW_SCALE | ROW_ADD | BY_X | NO_DZ);
    backward_variant(f, c, DY | DY2 | BY_Y);
}

void case_row_scale_backward(struct fixture *f, const struct case_shape *c)
{
    const struct size s = size_of(c);
    const struct array *x = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *dy = fixture_normal(f, ACTIVATIONS, s.total);
    const struct array *scale = fixture_normal(f, FLOATS, s.channels);
    const struct array *bias = fixture_normal(f, FLOATS, s.channels);
    const struct array *ds = fixture_poisoned(f, FLOATS, s.rows * s.channels);
    double *want = fixture_doubles(f, s.rows * s.channels);
    for (size_t i = 0; i < s.total; i++) {
        const size_t k = i % s.channels;
        const double v = (double)x->host[i] * (double)scale->host[k] + (double)bias->host[k];
        want[i / (s.pixels * s.channels) * s.channels + k] += (double)dy->host[i] * fmax(v, 0);
    }
    const struct bn_backward args = {
        .dy = dy->on,
        .x = x->on,
        .scale = scale->on,
        .bias = bias->on,
        .rows = c->rows,
        .pixels_per_row = c->height * c->width,
        .channels = c->channels,
    };
    f->ops->row_scale_backward(f->device, &args, ds->on);
    expect_near(f, "ds", ds, want, sum_bound);
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
