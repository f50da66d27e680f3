/* cases_conv.c - convolutions in three directions and matrix products against fp64 loops. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"
#include "tests/kernels/reference.h"

/* fp32 sums of n random products are off by about sqrt(n) 6e-8 of a product's size, and the largest
 * result is several sqrt(n): 1e-5 leaves a factor of ten for the order of summation. */
static const double bound = 1e-5;

void case_conv(struct fixture *f, const struct case_shape *c)
{
    const struct conv_shape shape = {.rows = c->rows,
                                     .height = c->height,
                                     .width = c->width,
                                     .in_channels = c->channels,
                                     .out_channels = c->out_channels,
                                     .kernel = c->kernel,
                                     .stride = c->stride,
                                     .groups = c->groups,
                                     .needs_input_gradient = 1};
    const size_t x_count = reference_input_count(&shape), y_count = reference_output_count(&shape);
    const size_t w_count = reference_weight_count(&shape);
    float *x = fixture_normal(f, x_count), *w = fixture_normal(f, w_count);
    float *dy = fixture_normal(f, y_count), *y = fixture_poisoned(f, y_count);
    float *dx = fixture_poisoned(f, x_count), *dw = fixture_poisoned(f, w_count);
    double *want_y = fixture_doubles(f, y_count), *want_dx = fixture_doubles(f, x_count);
    double *want_dw = fixture_doubles(f, w_count);
    struct conv *conv = NULL;
    assert_ok(f->ops->conv_create(f->device, &shape, &conv));
    f->ops->conv_weights(conv, w);
    f->ops->conv_forward(conv, x, y);
    f->ops->conv_backward_data(conv, dy, dx);
    f->ops->conv_backward_weights(conv, x, dy, dw, 0);
    reference_conv(&shape, x, w, dy, want_y, want_dx, want_dw);
    expect_near(f, "y", y, want_y, y_count, bound);
    expect_near(f, "dx", dx, want_dx, x_count, bound);
    expect_near(f, "dw", dw, want_dw, w_count, bound);
    f->ops->conv_backward_weights(conv, x, dy, dw, 1);
    for (size_t i = 0; i < w_count; i++)
        want_dw[i] *= 2;
    expect_near(f, "accumulated dw", dw, want_dw, w_count, bound);
    f->ops->conv_destroy(conv);
}

void case_gemm(struct fixture *f, const struct case_shape *c)
{
    const int m = c->rows, n = c->channels, k = c->out_channels;
    for (int trans = 0; trans < 4; trans++)
        for (int beta = 0; beta < 2; beta++) {
            float *a = fixture_normal(f, (size_t)m * (size_t)k);
            float *b = fixture_normal(f, (size_t)k * (size_t)n);
            float *before = fixture_normal(f, (size_t)m * (size_t)n);
            float *got = fixture_poisoned(f, (size_t)m * (size_t)n);
            double *want = fixture_doubles(f, (size_t)m * (size_t)n);
            if (beta)
                memcpy(got, before, (size_t)m * (size_t)n * sizeof(*got));
            f->ops->gemm(f->device, trans & 1, trans >> 1, m, n, k, 0.5f, a, b, (float)beta, got);
            reference_gemm(trans & 1, trans >> 1, m, n, k, 0.5, a, b, beta, before, want);
            expect_near(f, "c", got, want, (size_t)m * (size_t)n, bound);
        }
}
