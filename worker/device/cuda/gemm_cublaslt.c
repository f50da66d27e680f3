/* gemm_cublaslt.c - matrix products by cuBLASLt.
 *
 * cuBLASLt names an algorithm for every combination of sizes, types and alignments; the same
 * question gets the same answer from one version on one GPU. Asking takes tens of microseconds, so
 * answers are kept: a training run has some dozens of combinations. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/gemm_engine.h"

#include <cublasLt.h>
#include <stdint.h>
#include <string.h>

#include "common/mem.h"
#include "worker/device/cuda/conv_layout.h"

/* WORKSPACE: what NVIDIA recommends for Hopper. PLANS: more than the layers of a network. */
enum { PLANS = 256, ALIGNMENT_MAX = 16 };

/* What an algorithm depends on. */
struct key {
    int trans_a, trans_b, m, n, k, in, out;
    uint32_t alignment_a, alignment_b, alignment_c;
};

struct plan {
    struct key key;
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t a, b, c;
    cublasLtMatmulAlgo_t algorithm;
};

struct gemm_engine {
    cublasLtHandle_t handle;
    struct cuda_scratch workspace;
    struct plan plans[PLANS];
    int plan_count, oldest;
};

static enum status check(const char *what, cublasStatus_t status)
{
    if (status == CUBLAS_STATUS_SUCCESS)
        return OK;
    return fail(ERR_DEVICE, "cublasLt: %s: %s", what, cublasLtGetStatusString(status));
}

static cudaDataType_t type_of(int values)
{
    static const cudaDataType_t types[] = {
        [CUDA_BF16] = CUDA_R_16BF, [CUDA_FP16] = CUDA_R_16F, [CUDA_FP32] = CUDA_R_32F};
    return types[values];
}

static void plan_done(struct plan *plan)
{
    if (plan->a != NULL)
        cublasLtMatrixLayoutDestroy(plan->a);
    if (plan->b != NULL)
        cublasLtMatrixLayoutDestroy(plan->b);
    if (plan->c != NULL)
        cublasLtMatrixLayoutDestroy(plan->c);
    if (plan->product != NULL)
        cublasLtMatmulDescDestroy(plan->product);
    *plan = (struct plan){0};
}

/* cuBLAS thinks in columns: our row-major C = op(A) op(B) is its C' = op(B)' op(A)', so that its
 * first operand is our B. */
static enum status describe(struct plan *plan)
{
    const struct key *key = &plan->key;
    const cublasOperation_t first = key->trans_b ? CUBLAS_OP_T : CUBLAS_OP_N;
    const cublasOperation_t second = key->trans_a ? CUBLAS_OP_T : CUBLAS_OP_N;
    const uint64_t m = (uint64_t)key->m, n = (uint64_t)key->n, k = (uint64_t)key->k;
    const uint64_t b_length = key->trans_b ? k : n, a_length = key->trans_a ? m : k;
    TRY(check("product", cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F)));
    TRY(check("transpose", cublasLtMatmulDescSetAttribute(
                               plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &first, sizeof(first))));
    TRY(check("transpose",
              cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSB, &second,
                                             sizeof(second))));
    TRY(check("layout", cublasLtMatrixLayoutCreate(&plan->b, type_of(key->in), b_length,
                                                   key->trans_b ? n : k, (int64_t)b_length)));
    TRY(check("layout", cublasLtMatrixLayoutCreate(&plan->a, type_of(key->in), a_length,
                                                   key->trans_a ? k : m, (int64_t)a_length)));
    return check("layout",
                 cublasLtMatrixLayoutCreate(&plan->c, type_of(key->out), n, m, (int64_t)n));
}

static enum status prefer(const struct key *key, cublasLtMatmulPreference_t preference)
{
    const size_t workspace = CUDA_GEMM_WORKSPACE;
    const struct {
        cublasLtMatmulPreferenceAttributes_t name;
        const void *value;
        size_t bytes;
    } settings[] = {
        {CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof(workspace)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &key->alignment_b, sizeof(uint32_t)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &key->alignment_a, sizeof(uint32_t)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &key->alignment_c, sizeof(uint32_t)},
        {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &key->alignment_c, sizeof(uint32_t)},
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
        TRY(check("preference",
                  cublasLtMatmulPreferenceSetAttribute(preference, settings[i].name,
                                                       settings[i].value, settings[i].bytes)));
    return OK;
}

static enum status choose(struct gemm_engine *engine, struct plan *plan)
{
    enum status status = OK;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t result;
    int count = 0;
    TRY(check("preference", cublasLtMatmulPreferenceCreate(&preference)));
    TRY_OUT(prefer(&plan->key, preference));
    TRY_OUT(check("heuristic", cublasLtMatmulAlgoGetHeuristic(engine->handle, plan->product,
                                                              plan->b, plan->a, plan->c, plan->c,
                                                              preference, 1, &result, &count)));
    if (count == 0)
        status = fail(ERR_DEVICE, "cublasLt: no algorithm for m=%d n=%d k=%d", plan->key.m,
                      plan->key.n, plan->key.k);
    else
        plan->algorithm = result.algo;
out:
    cublasLtMatmulPreferenceDestroy(preference);
    return status;
}

static enum status plan_find(struct gemm_engine *engine, const struct key *key,
                             const struct plan **ret_plan)
{
    for (int i = 0; i < engine->plan_count; i++)
        if (memcmp(&engine->plans[i].key, key, sizeof(*key)) == 0) {
            *ret_plan = &engine->plans[i];
            return OK;
        }
    struct plan plan = {.key = *key};
    enum status status = describe(&plan);
    if (status == OK)
        status = choose(engine, &plan);
    if (status != OK) {
        plan_done(&plan);
        return status;
    }
    struct plan *place =
        &engine
             ->plans[engine->plan_count < PLANS ? engine->plan_count++ : engine->oldest++ % PLANS];
    plan_done(place);
    *place = plan;
    *ret_plan = place;
    return OK;
}

/* Bytes that p is a multiple of, up to what vector loads want. */
static uint32_t alignment_of(const void *p)
{
    uint32_t alignment = ALIGNMENT_MAX;
    while ((uintptr_t)p % alignment != 0)
        alignment /= 2;
    return alignment;
}

enum status gemm_engine_start(struct cuda *cuda)
{
    struct gemm_engine *engine = cuda->gemm = mem_zero(sizeof(*engine));
    TRY(check("start", cublasLtCreate(&engine->handle)));
    return cuda_scratch_grow(cuda, &engine->workspace, CUDA_GEMM_WORKSPACE);
}

void gemm_engine_stop(struct cuda *cuda)
{
    struct gemm_engine *engine = cuda->gemm;
    if (engine == NULL)
        return;
    for (int i = 0; i < engine->plan_count; i++)
        plan_done(&engine->plans[i]);
    cuda_release(&cuda->device, engine->workspace.memory, engine->workspace.bytes, -1);
    if (engine->handle != NULL)
        cublasLtDestroy(engine->handle);
    mem_free(engine);
    cuda->gemm = NULL;
}

static enum status run(struct cuda *cuda, const struct gemm_call *call)
{
    struct gemm_engine *engine = cuda->gemm;
    const struct plan *plan = NULL;
    const struct key key = {
        .trans_a = call->trans_a,
        .trans_b = call->trans_b,
        .m = call->m,
        .n = call->n,
        .k = call->k,
        .in = (int)call->in,
        .out = (int)call->out,
        .alignment_a = alignment_of(call->a),
        .alignment_b = alignment_of(call->b),
        .alignment_c = alignment_of(call->c),
    };
    cudaStream_t stream = cuda_stream(&cuda->device);
    TRY(plan_find(engine, &key, &plan));
    return check("run", cublasLtMatmul(engine->handle, plan->product, &call->alpha, call->b,
                                       plan->b, call->a, plan->a, &call->beta, call->c, plan->c,
                                       call->c, plan->c, &plan->algorithm, engine->workspace.memory,
                                       CUDA_GEMM_WORKSPACE, stream));
}

void gemm_engine_run(struct cuda *cuda, const struct gemm_call *call)
{
    if (run(cuda, call) != OK)
        cuda_failed(cuda, "gemm", fail_message());
}
