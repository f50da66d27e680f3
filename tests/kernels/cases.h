/* cases.h - the operations under test; test_kernels.c has the table that runs them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_KERNELS_CASES_H
#define TESTS_KERNELS_CASES_H

#include "tests/kernels/fixture.h"

/* What an operation is run on; an operation reads the members that mean something to it. */
struct case_shape {
    int rows, height, width, channels; /* channels: also columns, prototypes, n of a product */
    int out_channels, kernel, stride, groups;
};

/* cases_conv.c */
struct conv_shape case_conv_shape(const struct case_shape *shape);
void case_conv(struct fixture *fixture, const struct case_shape *shape);
/* Nobody wants the input's gradient. */
void case_stem(struct fixture *fixture, const struct case_shape *shape);
void case_gemm(struct fixture *fixture, const struct case_shape *shape);
/* cases_bn.c */
void case_bn_sums(struct fixture *fixture, const struct case_shape *shape);
void case_bn_finalize(struct fixture *fixture, const struct case_shape *shape);
void case_bn_apply(struct fixture *fixture, const struct case_shape *shape);
void case_bn_backward(struct fixture *fixture, const struct case_shape *shape);
void case_row_scale_backward(struct fixture *fixture, const struct case_shape *shape);
void case_running_update(struct fixture *fixture, const struct case_shape *shape);
/* cases_memory.c */
void case_copy(struct fixture *fixture, const struct case_shape *shape);
void case_multiply(struct fixture *fixture, const struct case_shape *shape);
void case_wide(struct fixture *fixture, const struct case_shape *shape);
void case_wide_not_finite(struct fixture *fixture, const struct case_shape *shape);
/* cases_pixels.c */
void case_images(struct fixture *fixture, const struct case_shape *shape);
void case_bias_activation(struct fixture *fixture, const struct case_shape *shape);
void case_normalize(struct fixture *fixture, const struct case_shape *shape);
/* cases_pool.c */
void case_max_pool(struct fixture *fixture, const struct case_shape *shape);
/* cases_rows.c */
void case_rows(struct fixture *fixture, const struct case_shape *shape);
/* cases_scores.c */
void case_sinkhorn(struct fixture *fixture, const struct case_shape *shape);
void case_sinkhorn_golden(struct fixture *fixture, const struct case_shape *shape);
void case_swav_loss(struct fixture *fixture, const struct case_shape *shape);
void case_swav_loss_golden(struct fixture *fixture, const struct case_shape *shape);
void case_nan(struct fixture *fixture, const struct case_shape *shape);
void case_optimizer(struct fixture *fixture, const struct case_shape *shape);
void case_optimizer_halves(struct fixture *fixture, const struct case_shape *shape);
void case_larc_golden(struct fixture *fixture, const struct case_shape *shape);

#endif
