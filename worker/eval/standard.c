/* standard.c - features of mean 0 and variance 1: batch normalisation without scale and offset. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/standard.h"

#include <math.h>
#include <string.h>

#include "common/mem.h"

void standard_init(struct standard *standard, int channels, int cells)
{
    *standard = (struct standard){
        .channels = channels,
        .cells = cells,
        .mean = mem_array((size_t)channels, sizeof(double)),
        .var = mem_array((size_t)channels, sizeof(double)),
        .sums = mem_array(2 * (size_t)channels, sizeof(double)),
        .centre = mem_array((size_t)channels, sizeof(float)),
        .scale = mem_array((size_t)channels, sizeof(float)),
    };
    for (int c = 0; c < channels; c++)
        standard->var[c] = 1;
}

void standard_done(struct standard *standard)
{
    mem_free(standard->mean);
    mem_free(standard->var);
    mem_free(standard->sums);
    mem_free(standard->centre);
    mem_free(standard->scale);
    *standard = (struct standard){0};
}

static void add_row(struct standard *standard, const float *x)
{
    double *sum = standard->sums, *square = sum + standard->channels;
    for (int cell = 0; cell < standard->cells; cell++, x += standard->channels)
        for (int c = 0; c < standard->channels; c++) {
            sum[c] += (double)x[c];
            square[c] += (double)x[c] * (double)x[c];
        }
}

static void clear_sums(struct standard *standard)
{
    memset(standard->sums, 0, 2 * (size_t)standard->channels * sizeof(*standard->sums));
}

/* From sums over n values to mean and biased variance, in their place. What rounding leaves of a
 * nearly constant channel is small beside BN's epsilon. */
static void finish_sums(struct standard *standard, double n)
{
    double *mean = standard->sums, *var = mean + standard->channels;
    for (int c = 0; c < standard->channels; c++) {
        mean[c] /= n;
        var[c] = fmax(0, var[c] / n - mean[c] * mean[c]);
    }
}

void standard_fit(struct standard *standard, const float *x, const uint64_t *rows, int64_t count)
{
    const int64_t width = (int64_t)standard->channels * standard->cells;
    const size_t bytes = (size_t)standard->channels * sizeof(double);
    clear_sums(standard);
    for (int64_t i = 0; i < count; i++)
        add_row(standard, x + (rows == NULL ? i : (int64_t)rows[i]) * width);
    finish_sums(standard, (double)count * standard->cells);
    memcpy(standard->mean, standard->sums, bytes);
    memcpy(standard->var, standard->sums + standard->channels, bytes);
    standard->is_fixed = 1;
}

static void move_running(struct standard *standard, double n)
{
    const double momentum = 0.1, unbiased = n > 1 ? n / (n - 1) : 1;
    const double *mean = standard->sums, *var = mean + standard->channels;
    for (int c = 0; c < standard->channels; c++) {
        standard->mean[c] += momentum * (mean[c] - standard->mean[c]);
        standard->var[c] += momentum * (var[c] * unbiased - standard->var[c]);
    }
}

void standard_apply(struct standard *standard, const float *x, int64_t rows, int is_training,
                    float *y)
{
    const double eps = 1e-5;
    const int channels = standard->channels, is_own = is_training && !standard->is_fixed;
    const double n = (double)rows * standard->cells;
    if (is_own) {
        clear_sums(standard);
        for (int64_t row = 0; row < rows; row++)
            add_row(standard, x + row * channels * standard->cells);
        finish_sums(standard, n);
        move_running(standard, n);
    }
    const double *mean = is_own ? standard->sums : standard->mean;
    const double *var = is_own ? standard->sums + channels : standard->var;
    for (int c = 0; c < channels; c++) {
        standard->centre[c] = (float)mean[c];
        standard->scale[c] = (float)(1 / sqrt(var[c] + eps));
    }
    for (int64_t pixel = 0; pixel < rows * standard->cells; pixel++)
        for (int c = 0; c < channels; c++)
            y[pixel * channels + c] =
                (x[pixel * channels + c] - standard->centre[c]) * standard->scale[c];
}
