/* kernel_sinkhorn.cu - codes by Sinkhorn-Knopp.
 *
 * SwAV, Caron et al. 2020, eq. 3-5. P = exp(S/epsilon - max) never changes; the iteration moves two
 * vectors, a over prototypes and b over samples, so a step costs one pass over P, which stays in
 * the L2 cache (64 samples of 16384 prototypes are 4 MiB). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/flat.h"
#include "worker/device/cuda/row.h"

/* More blocks than this would leave the second stage more to do than it takes from the first. */
enum { MAX_BLOCKS = 256, MAX_TURNS = 8 };

static __global__ void max_kernel(const float *x, size_t count, float *parts)
{
    float max = -INFINITY;
    for (size_t i = (size_t)blockIdx.x * ROW_THREADS + threadIdx.x; i < count;
         i += (size_t)gridDim.x * ROW_THREADS)
        max = larger(max, x[i]);
    max = row_larger(max);
    if (threadIdx.x == 0)
        parts[blockIdx.x] = max;
}

void cuda_scores_max(struct device *device, const float *scores, int rows, int prototypes,
                     float *ret)
{
    const size_t count = (size_t)rows * (size_t)prototypes;
    const size_t wanted = ceil_div(count, ROW_THREADS * MAX_TURNS);
    const unsigned most = MAX_BLOCKS, blocks = wanted < most ? (unsigned)wanted : most;
    float *parts = (float *)cuda_parts(device, MAX_BLOCKS * sizeof(float));
    if (parts == nullptr)
        return;
    LAUNCH(max_kernel, dim3(blocks), dim3(ROW_THREADS), cuda_stream(device), scores, count, parts);
    LAUNCH(max_kernel, dim3(1), dim3(ROW_THREADS), cuda_stream(device), parts, (size_t)blocks, ret);
    cuda_launched(device, "scores_max");
}

static __global__ void exp_kernel(const float *scores, size_t count, const float *max,
                                  float epsilon, float *p)
{
    for (size_t i = flat_first(); i < count; i += flat_step())
        p[i] = expf((scores[i] - max[0]) / epsilon);
}

void cuda_sinkhorn_exp(struct device *device, const float *scores, int rows, int prototypes,
                       const float *max, float epsilon, float *p)
{
    const size_t count = (size_t)rows * (size_t)prototypes;
    LAUNCH(exp_kernel, flat_blocks(count, 1), dim3(FLAT_THREADS), cuda_stream(device), scores,
           count, max, epsilon, p);
    cuda_launched(device, "sinkhorn_exp");
}

/* Prototypes are the channels of a tile, samples its pixels. */
static __global__ void prototypes_kernel(const float *p, const float *b, int rows, int prototypes,
                                         double *parts)
{
    const int k = tile_channel(1);
    double total[1][1] = {};
    if (k < prototypes) {
        size_t row = tile_first();
        tile_sums<true>((size_t)rows, prototypes, k, total, [&](size_t at, float(&part)[1][1]) {
            part[0][0] += p[at] * b[row];
            row += tile_step();
        });
    }
    tile_store_parts(total, prototypes, parts);
}

void cuda_sinkhorn_prototypes(struct device *device, const float *p, const float *b, int rows,
                              int prototypes, float *y)
{
    const dim3 blocks = tile_blocks(1, (size_t)rows, prototypes, 1);
    const size_t count = (size_t)prototypes;
    double *parts =
        (double *)cuda_parts(device, (size_t)tile_parts(blocks) * count * sizeof(double));
    if (parts == nullptr)
        return;
    LAUNCH(prototypes_kernel, blocks, tile_threads(), cuda_stream(device), p, b, rows, prototypes,
           parts);
    cuda_launched(device, "sinkhorn_prototypes");
    const struct parts_sum sum = {parts, tile_parts(blocks), count, nullptr, 0, y};
    cuda_parts_sum(device, &sum);
}

static __global__ void inverse_kernel(const float *y, int prototypes, float *a)
{
    const float share = 1.0f / (float)prototypes;
    for (size_t k = flat_first(); k < (size_t)prototypes; k += flat_step())
        a[k] = y[k] == 0 ? 0 : share / y[k];
}

static __global__ void samples_kernel(const float *p, const float *a, int rows, int prototypes,
                                      double total, float *b)
{
    for (int row = (int)blockIdx.x; row < rows; row += (int)gridDim.x) {
        const float *from = p + (size_t)row * (size_t)prototypes;
        const double mass = row_sum(prototypes, [&](size_t k) { return from[k] * a[k]; });
        if (threadIdx.x == 0)
            b[row] = mass == 0 ? 0 : (float)(1 / total / mass);
    }
}

void cuda_sinkhorn_samples(struct device *device, const float *p, const float *y, int rows,
                           int prototypes, double total, float *a, float *b)
{
    LAUNCH(inverse_kernel, flat_blocks((size_t)prototypes, 1), dim3(FLAT_THREADS),
           cuda_stream(device), y, prototypes, a);
    LAUNCH(samples_kernel, row_blocks(rows), dim3(ROW_THREADS), cuda_stream(device), p, a, rows,
           prototypes, total, b);
    cuda_launched(device, "sinkhorn_samples");
}

/* q may be p: a thread reads and writes the same values, after all have been summed. */
static __global__ void codes_kernel(const float *p, const float *a, int rows, int prototypes,
                                    float *q)
{
    for (int row = (int)blockIdx.x; row < rows; row += (int)gridDim.x) {
        const float *from = p + (size_t)row * (size_t)prototypes;
        float *to = q + (size_t)row * (size_t)prototypes;
        const double mass = row_sum(prototypes, [&](size_t k) { return from[k] * a[k]; });
        const float scale = mass == 0 ? 0 : (float)(1 / mass);
        const float uniform = mass == 0 ? 1.0f / (float)prototypes : 0;
        for (int k = (int)threadIdx.x; k < prototypes; k += ROW_THREADS)
            to[k] = from[k] * a[k] * scale + uniform;
    }
}

void cuda_sinkhorn_codes(struct device *device, const float *p, const float *a, int rows,
                         int prototypes, float *q)
{
    LAUNCH(codes_kernel, row_blocks(rows), dim3(ROW_THREADS), cuda_stream(device), p, a, rows,
           prototypes, q);
    cuda_launched(device, "sinkhorn_codes");
}
