/* cases_conv.c - convolutions in three directions and matrix products against fp64 loops. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"
#include "tests/kernels/reference.h"

/* fp32 sums of n random products are off by about sqrt(n) 6e-8 of a product's size, and the largest
 * result is several sqrt(n): 1e-5 leaves a factor of ten for the order of summation. */
static const double bound = 1e-5;

struct conv_shape case_conv_shape(const struct case_shape *c)
{
    return (struct conv_shape){.rows = c->rows,
                               .height = c->height,
                               .width = c->width,
                               .in_channels = c->channels,
                               .out_channels = c->out_channels,
                               .kernel = c->kernel,
                               .stride = c->stride,
                               .groups = c->groups,
                               .needs_input_gradient = 1};
}

static void compare_conv(struct fixture *f, const struct conv_shape *shape)
{
    const size_t x_count = reference_input_count(shape), y_count = reference_output_count(shape);
    const size_t w_count = reference_weight_count(shape);
    const struct array *x = fixture_normal(f, ACTIVATIONS, x_count);
    const struct array *w = fixture_normal(f, FLOATS, w_count);
    const struct array *dy = fixture_normal(f, ACTIVATIONS, y_count);
    const struct array *y = fixture_poisoned(f, ACTIVATIONS, y_count);
    const struct array *dx = fixture_poisoned(f, ACTIVATIONS, x_count);
    const struct array *dw = fixture_poisoned(f, FLOATS, w_count);
    double *want_y = fixture_doubles(f, y_count), *want_dx = fixture_doubles(f, x_count);
    double *want_dw = fixture_doubles(f, w_count);
    struct conv *conv = NULL;
    assert_ok(f->ops->conv_create(f->device, shape, &conv));
    f->ops->conv_weights(conv, w->on);
    f->ops->conv_forward(conv, x->on, y->on);
    f->ops->conv_backward_weights(conv, x->on, dy->on, dw->on, 0);
    reference_conv(shape, x->host, w->host, dy->host, want_y, want_dx, want_dw);
    expect_near(f, "y", y, want_y, bound);
    expect_near(f, "dw", dw, want_dw, bound);
    if (shape->needs_input_gradient) {
        f->ops->conv_backward_data(conv, dy->on, dx->on);
        expect_near(f, "dx", dx, want_dx, bound);
    }
    f->ops->conv_backward_weights(conv, x->on, dy->on, dw->on, 1);
    for (size_t i = 0; i < w_count; i++)
        want_dw[i] *= 2;
    expect_near(f, "accumulated dw", dw, want_dw, bound);
    f->ops->conv_destroy(conv);
}

void case_conv(struct fixture *f, const struct case_shape *c)
{
    const struct conv_shape shape = case_conv_shape(c);
    compare_conv(f, &shape);
}

void case_stem(struct fixture *f, const struct case_shape *c)
{
    struct conv_shape shape = case_conv_shape(c);
    shape.needs_input_gradient = 0;
    compare_conv(f, &shape);
}

void case_gemm(struct fixture *f, const struct case_shape *c)
{
    const int m = c->rows, n = c->channels, k = c->out_channels;
    const size_t c_count = (size_t)m * (size_t)n;
    for (int trans = 0; trans < 4; trans++)
        for (int beta = 0; beta < 2; beta++) {
            const struct array *a = fixture_normal(f, FLOATS, (size_t)m * (size_t)k);
            const struct array *b = fixture_normal(f, FLOATS, (size_t)k * (size_t)n);
            const struct array *before = fixture_normal(f, FLOATS, c_count);
            const struct array *got = beta ? fixture_copy(f, FLOATS, before->host, c_count)
                                           : fixture_poisoned(f, FLOATS, c_count);
            double *want = fixture_doubles(f, c_count);
            f->ops->gemm(f->device, trans & 1, trans >> 1, m, n, k, 0.5f, a->on, b->on, (float)beta,
                         got->on);
            reference_gemm(trans & 1, trans >> 1, m, n, k, 0.5, a->host, b->host, beta,
                           before->host, want);
            expect_near(f, "c", got, want, bound);
        }
}
