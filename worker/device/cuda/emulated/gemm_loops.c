/* gemm_loops.c - matrix products of the emulated GPU. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/gemm_engine.h"

#include "common/mem.h"
#include "worker/device/cuda/emulated/arrays.h"
#include "worker/device/cuda/emulated/emulator.h"

enum status gemm_engine_start(struct cuda *cuda)
{
    (void)cuda;
    return OK;
}

void gemm_engine_stop(struct cuda *cuda)
{
    (void)cuda;
}

/* x [rows][columns] turned around, in its place. */
static float *transposed(float *x, int rows, int columns)
{
    float *y = mem_alloc((size_t)rows * (size_t)columns * sizeof(*y));
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < columns; j++)
            y[(size_t)j * (size_t)rows + (size_t)i] = x[(size_t)i * (size_t)columns + (size_t)j];
    mem_free(x);
    return y;
}

static void product(void *data)
{
    const struct gemm_call *g = data;
    const size_t m = (size_t)g->m, n = (size_t)g->n, k = (size_t)g->k;
    float *a = arrays_load(g->in, g->a, m * k), *b = arrays_load(g->in, g->b, k * n);
    float *c = arrays_load(g->out, g->c, m * n);
    if (g->trans_a)
        a = transposed(a, g->k, g->m);
    if (g->trans_b)
        b = transposed(b, g->n, g->k);
    float *row = mem_alloc(n * sizeof(*row));
    for (size_t i = 0; i < m; i++) {
        for (size_t j = 0; j < n; j++)
            row[j] = 0;
        for (size_t l = 0; l < k; l++)
            for (size_t j = 0; j < n; j++)
                row[j] += a[i * k + l] * b[l * n + j];
        /* beta 0: what was there, NaN perhaps, does not matter */
        for (size_t j = 0; j < n; j++)
            c[i * n + j] = g->alpha * row[j] + (g->beta == 0 ? 0 : g->beta * c[i * n + j]);
    }
    mem_free(row);
    mem_free(a);
    mem_free(b);
    arrays_store(g->out, c, m * n, g->c);
}

void gemm_engine_run(struct cuda *cuda, const struct gemm_call *call)
{
    cuda_note(cuda, "gemm",
              emulator_call(cuda_stream(&cuda->device), product, call, sizeof(*call)));
}
