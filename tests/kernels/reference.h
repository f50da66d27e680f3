/* reference.h - convolution and matrix product as their formulas say, in fp64. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_KERNELS_REFERENCE_H
#define TESTS_KERNELS_REFERENCE_H

#include "worker/device/device.h"

int reference_out(int input, int stride);
size_t reference_input_count(const struct conv_shape *shape);
size_t reference_output_count(const struct conv_shape *shape);
size_t reference_weight_count(const struct conv_shape *shape);

/* One walk over all products serves the three directions: y += x w, dx += dy w, dw += x dy; NULL
 * outputs are left out. Outputs start at 0. */
void reference_conv(const struct conv_shape *shape, const float *x, const float *w, const float *dy,
                    double *y, double *dx, double *dw);

void reference_gemm(int trans_a, int trans_b, int m, int n, int k, double alpha, const float *a,
                    const float *b, double beta, const float *before, double *c);

#endif
