/* reference.c - convolution and matrix product as their formulas say, in fp64. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/kernels/reference.h"

int reference_out(int input, int stride)
{
    return (input + stride - 1) / stride;
}

size_t reference_input_count(const struct conv_shape *s)
{
    return (size_t)s->rows * (size_t)s->height * (size_t)s->width * (size_t)s->in_channels;
}

size_t reference_output_count(const struct conv_shape *s)
{
    return (size_t)s->rows * (size_t)reference_out(s->height, s->stride) *
           (size_t)reference_out(s->width, s->stride) * (size_t)s->out_channels;
}

size_t reference_weight_count(const struct conv_shape *s)
{
    return (size_t)s->out_channels * (size_t)(s->in_channels / s->groups) *
           (size_t)(s->kernel * s->kernel);
}

/* All products of one output pixel with one tap of the kernel. */
static void walk_tap(const struct conv_shape *s, size_t in_at, size_t out_at, int tap,
                     const float *x, const float *w, const float *dy, double *y, double *dx,
                     double *dw)
{
    const int in_group = s->in_channels / s->groups, out_group = s->out_channels / s->groups;
    for (int o = 0; o < s->out_channels; o++)
        for (int i = 0; i < in_group; i++) {
            const size_t in = in_at + (size_t)(o / out_group * in_group + i);
            const size_t out = out_at + (size_t)o;
            const size_t weight = (size_t)((o * in_group + i) * s->kernel * s->kernel + tap);
            if (y != NULL)
                y[out] += (double)x[in] * (double)w[weight];
            if (dx != NULL)
                dx[in] += (double)dy[out] * (double)w[weight];
            if (dw != NULL)
                dw[weight] += (double)x[in] * (double)dy[out];
        }
}

void reference_conv(const struct conv_shape *s, const float *x, const float *w, const float *dy,
                    double *y, double *dx, double *dw)
{
    const int out_height = reference_out(s->height, s->stride);
    const int out_width = reference_out(s->width, s->stride);
    for (int pixel = 0; pixel < s->rows * out_height * out_width; pixel++) {
        const int row = pixel / (out_height * out_width);
        const int out_y = pixel / out_width % out_height, out_x = pixel % out_width;
        for (int tap = 0; tap < s->kernel * s->kernel; tap++) {
            const int in_y = out_y * s->stride - s->kernel / 2 + tap / s->kernel;
            const int in_x = out_x * s->stride - s->kernel / 2 + tap % s->kernel;
            if (in_y < 0 || in_y >= s->height || in_x < 0 || in_x >= s->width)
                continue;
            const int in_pixel = (row * s->height + in_y) * s->width + in_x;
            walk_tap(s, (size_t)in_pixel * (size_t)s->in_channels,
                     (size_t)pixel * (size_t)s->out_channels, tap, x, w, dy, y, dx, dw);
        }
    }
}

void reference_gemm(int trans_a, int trans_b, int m, int n, int k, double alpha, const float *a,
                    const float *b, double beta, const float *before, double *c)
{
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int l = 0; l < k; l++)
                sum += (double)a[trans_a ? l * m + i : i * k + l] *
                       (double)b[trans_b ? j * k + l : l * n + j];
            c[i * n + j] = alpha * sum + (beta == 0 ? 0 : beta * (double)before[i * n + j]);
        }
}
