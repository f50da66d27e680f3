/* cases_rows.c - operations by rows within rows_begin and rows_end against the same without. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"
#include "tests/kernels/reference.h"

/* What is computed is the same; sums of bands are added in another order. */
static const double bound = 2e-6;

enum { CHANNEL_ARRAYS = 4 };

/* A layer: a = relu(bn(x)), y = conv(a), and back from dy, the gradient of bn(y). */
struct layer {
    struct fixture *f;
    struct conv_shape shape;
    struct conv *conv;
    int in_pixels, out_pixels;
    int is_cut; /* sums are of two halves of the rows, each by itself */
    const struct array *x, *w, *dy, *in[CHANNEL_ARRAYS], *out[CHANNEL_ARRAYS];
    const struct array *row_scale, *row_add; /* [rows][in], [rows][out] */
};

/* What comes out; a and db pass. */
struct results {
    const struct array *a, *pooled, *y, *sums, *db, *dw, *dx, *sums_back, *ds;
};

static struct results results_make(const struct layer *l)
{
    struct fixture *f = l->f;
    const size_t x = l->x->count, y = l->dy->count;
    return (struct results){
        .a = fixture_poisoned(f, ACTIVATIONS, x),
        .pooled = fixture_poisoned(f, FLOATS, l->row_scale->count),
        .y = fixture_poisoned(f, ACTIVATIONS, y),
        .sums = fixture_poisoned(f, FLOATS, 4 * (size_t)l->shape.out_channels),
        .db = fixture_poisoned(f, ACTIVATIONS, y),
        .dw = fixture_copy(f, FLOATS, l->w->host, l->w->count),
        .dx = fixture_poisoned(f, ACTIVATIONS, x),
        .sums_back = fixture_poisoned(f, FLOATS, 2 * (size_t)l->shape.in_channels),
        .ds = fixture_poisoned(f, FLOATS, l->row_scale->count),
    };
}

static void activate(const struct layer *l, const struct results *to)
{
    const struct bn_apply args = {
        .x = l->x->on,
        .scale = l->in[0]->on,
        .bias = l->in[1]->on,
        .is_relu = 1,
        .rows = l->shape.rows,
        .pixels_per_row = l->in_pixels,
        .channels = l->shape.in_channels,
        .row_scale = l->row_scale->on,
        .y = to->a->on,
        .pooled = to->pooled->on,
    };
    l->f->ops->bn_apply(l->f->device, &args);
}

static void sums(const struct layer *l, const struct results *to)
{
    const int parts = l->is_cut ? 2 : 1, channels = l->shape.out_channels;
    const int rows = l->shape.rows / parts;
    const size_t bytes =
        (size_t)rows * (size_t)l->out_pixels * (size_t)channels * l->f->ops->activation_bytes;
    for (int i = 0; i < parts; i++) {
        const struct bn_sums args = {
            .x = (const char *)to->y->on + (size_t)i * bytes,
            .rows = rows,
            .pixels_per_row = l->out_pixels,
            .channels = channels,
            .shift = l->out[0]->on,
            .sums = (float *)to->sums->on + (ptrdiff_t)i * 2 * channels,
        };
        l->f->ops->bn_sums(l->f->device, &args);
    }
}

static void forward(const struct layer *l, const struct results *to)
{
    activate(l, to);
    l->f->ops->conv_forward(l->conv, to->a->on, to->y->on);
    sums(l, to);
}

/* The ReLU of x, whose gradient is dx. */
static void sums_back(const struct layer *l, const struct results *to)
{
    const struct bn_backward args = {
        .dy = to->dx->on,
        .is_relu = 1,
        .x = l->x->on,
        .scale = l->in[0]->on,
        .bias = l->in[1]->on,
        .mean = l->in[2]->on,
        .invstd = l->in[3]->on,
        .rows = l->shape.rows,
        .pixels_per_row = l->in_pixels,
        .channels = l->shape.in_channels,
        .sums = to->sums_back->on,
    };
    l->f->ops->bn_backward_sums(l->f->device, &args);
    l->f->ops->row_scale_backward(l->f->device, &args, to->ds->on);
}

static void backward(const struct layer *l, const struct results *to)
{
    const struct bn_backward args = {
        .dy = l->dy->on,
        .row_add = l->row_add->on,
        .x = to->y->on,
        .mean = l->out[0]->on,
        .invstd = l->out[1]->on,
        .rows = l->shape.rows,
        .pixels_per_row = l->out_pixels,
        .channels = l->shape.out_channels,
    };
    activate(l, to);
    l->f->ops->bn_backward_apply(l->f->device, &args, l->out[2]->on, l->out[3]->on, 1000,
                                 to->db->on);
    l->f->ops->conv_backward_weights(l->conv, to->a->on, to->db->on, to->dw->on, !l->is_cut);
    l->f->ops->conv_backward_data(l->conv, to->db->on, to->dx->on);
    sums_back(l, to);
}

static void in_rows(const struct layer *l, const struct results *to,
                    void (*pass)(const struct layer *l, const struct results *to))
{
    const void *const passing[ROWS_PASSING_MAX] = {to->a->on, to->db->on};
    l->f->ops->rows_begin(l->f->device, l->shape.rows, passing);
    pass(l, to);
    l->f->ops->rows_end(l->f->device);
}

static void expect_same(const struct layer *l, const char *what, const struct array *got,
                        const struct array *want)
{
    double *values = fixture_doubles(l->f, want->count);
    array_pull(l->f, want);
    for (size_t i = 0; i < want->count; i++)
        values[i] = (double)want->host[i];
    expect_near(l->f, what, got, values, bound);
}

static void compare(const struct layer *l, const struct results *got, const struct results *want)
{
    const struct array *got_sums = got->sums, *want_sums = want->sums;
    expect_same(l, "y", got->y, want->y);
    expect_same(l, "pooled", got->pooled, want->pooled);
    array_pull(l->f, got_sums);
    array_pull(l->f, want_sums);
    for (int i = 0; i < (l->is_cut ? 4 : 2) * l->shape.out_channels; i++)
        assert_float_equal(got_sums->host[i], want_sums->host[i],
                           1e-4f * (1 + (float)l->out_pixels));
    expect_same(l, "dw", got->dw, want->dw);
    expect_same(l, "dx", got->dx, want->dx);
    expect_same(l, "backward sums", got->sums_back, want->sums_back);
    expect_same(l, "ds", got->ds, want->ds);
}

void case_rows(struct fixture *f, const struct case_shape *c)
{
    struct layer l = {
        .f = f,
        .shape = case_conv_shape(c),
        .in_pixels = c->height * c->width,
    };
    l.x = fixture_normal(f, ACTIVATIONS, reference_input_count(&l.shape));
    l.w = fixture_normal(f, FLOATS, reference_weight_count(&l.shape));
    l.dy = fixture_normal(f, ACTIVATIONS, reference_output_count(&l.shape));
    l.out_pixels = (int)(l.dy->count / (size_t)(c->rows * c->out_channels));
    for (int i = 0; i < CHANNEL_ARRAYS; i++) {
        l.in[i] = fixture_uniform(f, FLOATS, (size_t)c->channels, 0.5, 1);
        l.out[i] = fixture_uniform(f, FLOATS, 2 * (size_t)c->out_channels, 0.5, 1);
    }
    l.row_scale = fixture_uniform(f, FLOATS, (size_t)(c->rows * c->channels), 0.5, 1);
    l.row_add = fixture_uniform(f, FLOATS, (size_t)(c->rows * c->out_channels), 0.5, 1);
    assert_ok(f->ops->conv_create(f->device, &l.shape, &l.conv));
    f->ops->conv_weights(l.conv, l.w->on);
    for (l.is_cut = 0; l.is_cut < 1 + (c->rows % 2 == 0); l.is_cut++) {
        const struct results want = results_make(&l), got = results_make(&l);
        forward(&l, &want);
        backward(&l, &want);
        in_rows(&l, &got, forward);
        in_rows(&l, &got, backward);
        compare(&l, &got, &want);
    }
    f->ops->conv_destroy(l.conv);
}
