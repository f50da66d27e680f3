/* cases_pixels.c - images, squeeze-and-excitation scale, bias, activation, unit rows. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/cases.h"

#include <math.h>

#include "common/mem.h"

static const double sum_bound = 1e-5, value_bound = 1e-6;

void case_images(struct fixture *f, const struct case_shape *c)
{
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    const size_t n = (size_t)c->rows * (size_t)(c->height * c->width) * 3;
    uint8_t *images = mem_alloc(n);
    float *y = fixture_poisoned(f, n), *back = fixture_poisoned(f, n);
    double *want = fixture_doubles(f, n);
    for (size_t i = 0; i < n; i++) {
        images[i] = (uint8_t)(i * 37 + 11); /* every value, at every channel */
        want[i] = (images[i] / 255.0 - (double)mean[i % 3]) / (double)std[i % 3];
    }
    f->ops->images_normalize(f->device, images, n / 3, mean, std, y);
    mem_free(images);
    expect_near(f, "y", y, want, n, value_bound);
    f->ops->from_float(f->device, y, n, back);
    expect_near(f, "from_float", back, want, n, value_bound);
    memset(y, 0xff, n * sizeof(*y));
    f->ops->to_float(f->device, back, n, y);
    expect_near(f, "to_float", y, want, n, value_bound);
}

void case_row_scale(struct fixture *f, const struct case_shape *c)
{
    const size_t rows = (size_t)c->rows, pixels = (size_t)(c->height * c->width);
    const size_t channels = (size_t)c->channels, n = rows * pixels * channels;
    float *x = fixture_normal(f, n), *dy = fixture_normal(f, n);
    float *s = fixture_normal(f, rows * channels);
    float *y = fixture_poisoned(f, n), *ds = fixture_poisoned(f, rows * channels);
    double *want = fixture_doubles(f, n), *want_ds = fixture_doubles(f, rows * channels);
    for (size_t i = 0; i < n; i++) {
        const size_t at = i / (pixels * channels) * channels + i % channels;
        want[i] = (double)x[i] * (double)s[at];
        want_ds[at] += (double)x[i] * (double)dy[i];
    }
    f->ops->row_scale(f->device, x, s, c->rows, (int)pixels, c->channels, y);
    f->ops->row_scale_backward(f->device, dy, x, c->rows, (int)pixels, c->channels, ds);
    expect_near(f, "y", y, want, n, value_bound);
    expect_near(f, "ds", ds, want_ds, rows * channels, sum_bound);
}

static void activation_variant(struct fixture *f, const struct case_shape *c,
                               enum activation activation, int is_biased, int accumulate)
{
    const size_t columns = (size_t)c->channels, n = (size_t)c->rows * columns;
    float *x = fixture_uniform(f, n, -6, 6), *bias = fixture_normal(f, columns);
    float *dy = fixture_normal(f, n), *y = fixture_poisoned(f, n), *dx = fixture_poisoned(f, n);
    float *dbias = accumulate ? fixture_normal(f, columns) : fixture_poisoned(f, columns);
    double *want = fixture_doubles(f, n), *want_dx = fixture_doubles(f, n);
    double *want_dbias = fixture_doubles(f, columns);
    for (size_t k = 0; k < columns && accumulate; k++)
        want_dbias[k] = (double)dbias[k];
    for (size_t i = 0; i < n; i++) {
        const double v = (double)x[i] + (is_biased ? (double)bias[i % columns] : 0);
        const double sigmoid = 1 / (1 + exp(-v));
        want[i] = activation == ACTIVATION_SIGMOID            ? sigmoid
                  : activation == ACTIVATION_RELU && !(v > 0) ? 0
                                                              : v;
        want_dx[i] = (double)dy[i] * (activation == ACTIVATION_SIGMOID ? sigmoid * (1 - sigmoid)
                                      : activation == ACTIVATION_RELU  ? v > 0
                                                                       : 1);
        want_dbias[i % columns] += want_dx[i];
    }
    f->ops->bias_activation(f->device, x, is_biased ? bias : NULL, c->rows, c->channels, activation,
                            y);
    expect_near(f, "y", y, want, n, value_bound);
    f->ops->bias_activation_backward(f->device, dy, y, c->rows, c->channels, activation, dx, dbias,
                                     accumulate);
    expect_near(f, "dx", dx, want_dx, n, value_bound);
    expect_near(f, "dbias", dbias, want_dbias, columns, sum_bound);
    f->ops->bias_activation_backward(f->device, dy, y, c->rows, c->channels, activation, dy, NULL,
                                     0);
    expect_near(f, "dx in place", dy, want_dx, n, value_bound);
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
    float *z = fixture_normal(f, n), *d = fixture_normal(f, n), *zhat = fixture_poisoned(f, n);
    float *norms = fixture_poisoned(f, rows), *dz = fixture_poisoned(f, n);
    double *want = fixture_doubles(f, n), *want_dz = fixture_doubles(f, n);
    double *want_norms = fixture_doubles(f, rows);
    for (size_t row = 0; row < rows; row++) {
        double square = 0, along = 0;
        for (size_t i = row * columns; i < (row + 1) * columns; i++)
            square += (double)z[i] * (double)z[i];
        want_norms[row] = sqrt(square);
        for (size_t i = row * columns; i < (row + 1) * columns; i++) {
            want[i] = (double)z[i] / want_norms[row];
            along += (double)d[i] * want[i];
        }
        for (size_t i = row * columns; i < (row + 1) * columns; i++)
            want_dz[i] = ((double)d[i] - want[i] * along) / want_norms[row];
    }
    f->ops->normalize_rows(f->device, z, c->rows, c->channels, zhat, norms);
    f->ops->normalize_rows_backward(f->device, d, zhat, norms, c->rows, c->channels, dz);
    expect_near(f, "zhat", zhat, want, n, value_bound);
    expect_near(f, "norms", norms, want_norms, rows, value_bound);
    /* One column: the gradient is exactly 0 and its reference is rounding of fp64. */
    if (columns > 1)
        expect_near(f, "dz", dz, want_dz, n, sum_bound);
}
