/* cuda_gemm.c - matrix products of fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/gemm_engine.h"

void cuda_gemm(struct device *device, int trans_a, int trans_b, int m, int n, int k, float alpha,
               const float *a, const float *b, float beta, float *c)
{
    const struct gemm_call call = {
        .trans_a = trans_a,
        .trans_b = trans_b,
        .m = m,
        .n = n,
        .k = k,
        .alpha = alpha,
        .beta = beta,
        .in = CUDA_FP32,
        .out = CUDA_FP32,
        .a = a,
        .b = b,
        .c = c,
    };
    gemm_engine_run((struct cuda *)device, &call);
}
