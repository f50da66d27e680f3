/* gemm_engine.h - matrix products, by cuBLASLt or by plain loops.
 *
 * gemm_cublaslt.c runs them on a GPU, emulated/gemm_loops.c on the host; CMake picks one. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_GEMM_ENGINE_H
#define WORKER_DEVICE_CUDA_GEMM_ENGINE_H

#include "worker/device/cuda/cuda.h"

/* C[m][n] = alpha * op(A) op(B) + beta * C, row-major, leading dimensions = row lengths; summed in
 * fp32, also where A and B are narrower. */
struct gemm_call {
    int trans_a, trans_b, m, n, k;
    float alpha, beta;
    enum cuda_values in, out; /* types of A and B, and of C */
    const void *a, *b;
    void *c;
};

/* Sets cuda->gemm. ERR_DEVICE. */
enum status gemm_engine_start(struct cuda *cuda);
void gemm_engine_stop(struct cuda *cuda); /* NULL cuda->gemm is fine */
/* Into the stream; failures are kept by cuda_failed. */
void gemm_engine_run(struct cuda *cuda, const struct gemm_call *call);

#endif
