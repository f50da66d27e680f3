/* standard.h - features of mean 0 and variance 1: batch normalisation without scale and offset.
 *
 * Either of batches, with running statistics for testing as torch's BatchNorm2d keeps them, or of a
 * whole set. Statistics are by channel, over rows and cells of the grid. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_STANDARD_H
#define WORKER_EVAL_STANDARD_H

#include <stdint.h>

struct standard {
    int channels, cells; /* a row is [cells][channels] */
    int is_fixed;        /* standard_fit was called */
    double *mean, *var;  /* [channels]; running, or of the set; owned */
    double *sums;        /* [2 * channels]; owned */
    float *centre;       /* [channels] what the last standard_apply took off; owned */
    float *scale;        /* [channels] and multiplied with; owned */
};

void standard_init(struct standard *standard, int channels, int cells);
void standard_done(struct standard *standard);
/* Takes the statistics of rows rows[0..count) of x, from now on for good. rows NULL: the first
 * count. */
void standard_fit(struct standard *standard, const float *x, const uint64_t *rows, int64_t count);
/* y = (x - mean) / sqrt(var + 1e-5), [rows][cells][channels]. is_training: with the statistics of
 * these rows, which the running ones take in (momentum 0.1, unbiased variance), unless they are
 * fixed. */
void standard_apply(struct standard *standard, const float *x, int64_t rows, int is_training,
                    float *y);

#endif
