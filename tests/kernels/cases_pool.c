/* cases_pool.c - the maximum behind a ResNet's stem. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"

#include <math.h>

/* A maximum is exact; a pixel may be the largest of four windows, whose gradients are added. */
static const double value_bound = 0, sum_bound = 1e-6;

/* The first of the largest pixels of a window, as the index of its value. */
static size_t largest_of(const struct case_shape *c, const float *x, int row, int i, int j,
                         int channel)
{
    size_t best = SIZE_MAX;
    for (int y = 2 * i - 1; y <= 2 * i + 1; y++)
        for (int k = 2 * j - 1; k <= 2 * j + 1; k++) {
            if (y < 0 || y >= c->height || k < 0 || k >= c->width)
                continue;
            const size_t at =
                (size_t)(((row * c->height + y) * c->width + k) * c->channels) + (size_t)channel;
            if (best == SIZE_MAX || x[at] > x[best])
                best = at;
        }
    return best;
}

/* has_second: the gradient comes in two parts. Half of x is 0, as behind a ReLU, so many largest
 * pixels are equal. */
static void pool_variant(struct fixture *f, const struct case_shape *c, int has_second)
{
    const int height = (c->height + 1) / 2, width = (c->width + 1) / 2;
    const size_t n = (size_t)(c->rows * c->height * c->width * c->channels);
    const size_t n_out = (size_t)(c->rows * height * width * c->channels);
    const struct array *x = fixture_normal(f, ACTIVATIONS, n);
    const struct array *dy = fixture_normal(f, ACTIVATIONS, n_out);
    const struct array *dy2 = fixture_normal(f, ACTIVATIONS, n_out);
    const struct array *y = fixture_poisoned(f, ACTIVATIONS, n_out);
    const struct array *dx = fixture_poisoned(f, ACTIVATIONS, n);
    double *want = fixture_doubles(f, n_out), *want_dx = fixture_doubles(f, n);
    for (size_t i = 0; i < n; i++)
        x->host[i] = x->host[i] > 0 ? x->host[i] : 0;
    array_push(f, x);
    for (size_t at = 0; at < n_out; at++) {
        const int pixel = (int)(at / (size_t)c->channels);
        const size_t from = largest_of(c, x->host, pixel / (height * width), pixel / width % height,
                                       pixel % width, (int)(at % (size_t)c->channels));
        want[at] = (double)x->host[from];
        want_dx[from] += (double)dy->host[at] + (has_second ? (double)dy2->host[at] : 0);
    }
    const struct max_pool args = {.x = x->on,
                                  .rows = c->rows,
                                  .height = c->height,
                                  .width = c->width,
                                  .channels = c->channels,
                                  .y = y->on};
    f->ops->max_pool(f->device, &args);
    f->ops->max_pool_backward(f->device, &args, dy->on, has_second ? dy2->on : NULL, dx->on);
    expect_near(f, "y", y, want, value_bound);
    expect_near(f, "dx", dx, want_dx, sum_bound);
}

void case_max_pool(struct fixture *f, const struct case_shape *c)
{
    for (int has_second = 0; has_second < 2; has_second++) {
        fixture_begin(f, "max_pool rows=%d %dx%d channels=%d has_second=%d", c->rows, c->height,
                      c->width, c->channels, has_second);
        pool_variant(f, c, has_second);
    }
}
