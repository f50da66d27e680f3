/* cases_pixels.c - images, squeeze-and-excitation scale, bias, activation, unit rows. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"

#include <math.h>

static const double sum_bound = 1e-5, value_bound = 1e-6;

void case_images(struct fixture *f, const struct case_shape *c)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    const size_t n = (size_t)c->rows * (size_t)(c->height * c->width) * 3;
    const struct array *y = fixture_poisoned(f, ACTIVATIONS, n);
    const struct array *floats = fixture_poisoned(f, FLOATS, n);
    const struct array *back = fixture_poisoned(f, ACTIVATIONS, n);
    const struct array *images = fixture_poisoned(f, BYTES, n);
    double *want = fixture_doubles(f, n);
    for (size_t i = 0; i < n; i++) {
        images->bytes[i] = (uint8_t)(i * 37 + 11); /* every value, at every channel */
        want[i] = (images->bytes[i] / 255.0 - (double)mean[i % 3]) / (double)std[i % 3];
    }
    array_push(f, images);
    f->ops->images_normalize(f->device, images->on, n / 3, mean, std, y->on);
    expect_near(f, "y", y, want, value_bound);
    f->ops->to_float(f->device, y->on, n, floats->on);
    f->ops->from_float(f->device, floats->on, n, back->on);
    array_pull(f, floats);
    array_pull(f, back);
    for (size_t i = 0; i < n; i++) /* there and back again, no bit is lost */
        assert_true(floats->host[i] == y->host[i] && back->host[i] == y->host[i]);
}

static void activation_variant(struct fixture *f, const struct case_shape *c,
                               enum activation activation, int is_biased, int accumulate)
{
    const size_t columns = (size_t)c->channels, n = (size_t)c->rows * columns;
    const struct array *x = fixture_uniform(f, FLOATS, n, -6, 6);
    const struct array *bias = fixture_normal(f, FLOATS, columns);
    const struct array *dy = fixture_normal(f, FLOATS, n), *y = fixture_poisoned(f, FLOATS, n);
    const struct array *dx = fixture_poisoned(f, FLOATS, n);
    const struct array *dbias =
        accumulate ? fixture_normal(f, FLOATS, columns) : fixture_poisoned(f, FLOATS, columns);
    double *want = fixture_doubles(f, n), *want_dx = fixture_doubles(f, n);
    double *want_dbias = fixture_doubles(f, columns);
    for (size_t k = 0; k < columns && accumulate; k++)
        want_dbias[k] = (double)dbias->host[k];
    for (size_t i = 0; i < n; i++) {
        const double v = (double)x->host[i] + (is_biased ? (double)bias->host[i % columns] : 0);
        const double sigmoid = 1 / (1 + exp(-v));
        want[i] = activation == ACTIVATION_SIGMOID            ? sigmoid
                  : activation == ACTIVATION_RELU && !(v > 0) ? 0
                                                              : v;
        want_dx[i] =
            (double)dy->host[i] * (activation == ACTIVATION_SIGMOID ? sigmoid * (1 - sigmoid)
                                   : activation == ACTIVATION_RELU  ? v > 0
                                                                    : 1);
        want_dbias[i % columns] += want_dx[i];
    }
    f->ops->bias_activation(f->device, x->on, is_biased ? bias->on : NULL, c->rows, c->channels,
                            activation, y->on);
    expect_near(f, "y", y, want, value_bound);
    f->ops->bias_activation_backward(f->device, dy->on, y->on, c->rows, c->channels, activation,
                                     dx->on, dbias->on, accumulate);
    expect_near(f, "dx", dx, want_dx, value_bound);
    expect_near(f, "dbias", dbias, want_dbias, sum_bound);
    f->ops->bias_activation_backward(f->device, dy->on, y->on, c->rows, c->channels, activation,
                                     dy->on, NULL, 0);
    expect_near(f, "dx in place", dy, want_dx, value_bound);
}

void case_bias_activation(struct fixture *f, const struct case_shape *c)
{
    for (int variant = 0; variant < 12; variant++) {
        fixture_begin(f, "bias_activation rows=%d columns=%d variant=%d", c->rows, c->channels,
                      variant);
        activation_variant(f, c, (enum activation)(variant % 3), variant / 3 % 2, variant / 6);
    }
}

void case_normalize(struct fixture *f, const struct case_shape *c)
{
    const size_t rows = (size_t)c->rows, columns = (size_t)c->channels, n = rows * columns;
    const struct array *z = fixture_normal(f, FLOATS, n), *d = fixture_normal(f, FLOATS, n);
    const struct array *zhat = fixture_poisoned(f, FLOATS, n);
    const struct array *norms = fixture_poisoned(f, FLOATS, rows);
    const struct array *dz = fixture_poisoned(f, FLOATS, n);
    double *want = fixture_doubles(f, n), *want_dz = fixture_doubles(f, n);
    double *want_norms = fixture_doubles(f, rows);
    for (size_t row = 0; row < rows; row++) {
        double square = 0, along = 0;
        for (size_t i = row * columns; i < (row + 1) * columns; i++)
            square += (double)z->host[i] * (double)z->host[i];
        want_norms[row] = sqrt(square);
        for (size_t i = row * columns; i < (row + 1) * columns; i++) {
            want[i] = (double)z->host[i] / want_norms[row];
            along += (double)d->host[i] * want[i];
        }
        for (size_t i = row * columns; i < (row + 1) * columns; i++)
            want_dz[i] = ((double)d->host[i] - want[i] * along) / want_norms[row];
    }
    f->ops->normalize_rows(f->device, z->on, c->rows, c->channels, zhat->on, norms->on);
    f->ops->normalize_rows_backward(f->device, d->on, zhat->on, norms->on, c->rows, c->channels,
                                    dz->on);
    expect_near(f, "zhat", zhat, want, value_bound);
    expect_near(f, "norms", norms, want_norms, value_bound);
    /* One column: the gradient is exactly 0 and its reference is rounding of fp64. */
    if (columns > 1)
        expect_near(f, "dz", dz, want_dz, sum_bound);
}
