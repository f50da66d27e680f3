/* conv_cudnn.c - convolutions by cuDNN: which plan, and its runs.
 *
 * As long as nobody calls conv_engines_tune the first plan is taken, without any timing: the same
 * library on the same GPU takes the same engine, so a run repeats bit by bit, and members with the
 * same GPUs agree. Afterwards the first run of a convolution begins with a contest of its first few
 * plans on the very tensors it was called with, which costs no memory since outputs are
 * overwritten. All plans are deterministic, so a run repeats as long as the file with the winners
 * stays. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/conv_engine.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "worker/device/cuda/conv_layout.h"
#include "worker/device/cuda/cudnn_graph.h"

/* RUNS: timed, behind one to warm up. MEASURE_NS: all that a process measures in its life; the
 * first steps of a model are slower by it, and a server must not take them for hung. */
enum { RUNS = 3 };
static const int64_t MEASURE_NS = 20000000000;

static const char *const direction_names[CONV_DIRECTIONS] = {
    [CONV_FORWARD] = "forward",
    [CONV_BACKWARD_DATA] = "backward_data",
    [CONV_BACKWARD_WEIGHTS] = "backward_weights",
};
static const char *const value_names[] = {
    [CUDA_BF16] = "bf16", [CUDA_FP16] = "fp16", [CUDA_FP32] = "fp32"};

struct conv_engines {
    cudnnHandle_t handle;
    struct cuda_scratch workspace;
    int is_tuned; /* plans are measured */
    struct conv_cache cache;
    int64_t left_ns; /* to measure */
    cudaEvent_t begin, end;
};

struct conv_engine {
    struct cuda *cuda;
    struct conv_shape shape;
    enum cuda_values grad_values;
    struct cudnn_plan plans[CONV_DIRECTIONS];
    int is_settled[CONV_DIRECTIONS]; /* by a contest, or by an earlier one */
};

/* The tensors of a run. */
struct conv_run {
    const void *x, *y, *w;
};

static void key_of(const struct conv_engine *engine, enum conv_direction direction,
                   char ret_key[CONV_KEY_BYTES])
{
    conv_key(&engine->shape, direction_names[direction], value_names[engine->cuda->values],
             ret_key);
}

static void log_choice(const struct conv_engine *engine, enum conv_direction direction,
                       const struct conv_choice *choice, const char *from)
{
    char key[CONV_KEY_BYTES];
    key_of(engine, direction, key);
    log_debug(
        "event=convolution %s rank=%d engine=%lld us=%.1f tflops=%.2f from=%s", key, choice->rank,
        (long long)choice->engine, (double)choice->time_ns / 1e3,
        choice->time_ns == 0 ? 0 : conv_operations(&engine->shape) / (double)choice->time_ns / 1e3,
        from);
}

static struct cudnn_convolution convolution_of(const struct conv_engine *engine,
                                               enum conv_direction direction,
                                               enum cuda_values weight_values)
{
    return (struct cudnn_convolution){
        .shape = engine->shape,
        .direction = direction,
        .name = direction_names[direction],
        .values = engine->cuda->values,
        .weight_values = weight_values,
    };
}

/* The first of the heuristic's list. */
static enum status plan_create(struct conv_engine *engine, enum conv_direction direction,
                               enum cuda_values weight_values)
{
    const struct cudnn_convolution of = convolution_of(engine, direction, weight_values);
    struct cudnn_plans plans = {.most = 1, .only_rank = -1};
    TRY(cudnn_plans_find(engine->cuda->conv->handle, &of, &plans));
    engine->plans[direction] = plans.plans[0];
    return OK;
}

/* The gradient of the weights in fp32 if cuDNN can, else as the activations are. */
static enum status create_plans(struct conv_engine *engine)
{
    const enum cuda_values values = engine->cuda->values;
    TRY(plan_create(engine, CONV_FORWARD, values));
    if (engine->shape.needs_input_gradient)
        TRY(plan_create(engine, CONV_BACKWARD_DATA, values));
    engine->grad_values = CUDA_FP32;
    if (plan_create(engine, CONV_BACKWARD_WEIGHTS, CUDA_FP32) == OK)
        return OK;
    engine->grad_values = values;
    return plan_create(engine, CONV_BACKWARD_WEIGHTS, values);
}

enum status conv_engines_start(struct cuda *cuda)
{
    struct conv_engines *engines = cuda->conv = mem_zero(sizeof(*engines));
    engines->left_ns = MEASURE_NS;
    TRY(cudnn_check("start", cudnnCreate(&engines->handle)));
    TRY(cudnn_check("stream", cudnnSetStream(engines->handle, cuda->stream)));
    return cuda_scratch_grow(cuda, &engines->workspace, CUDA_CONV_WORKSPACE);
}

void conv_engines_stop(struct cuda *cuda)
{
    struct conv_engines *engines = cuda->conv;
    if (engines == NULL)
        return;
    cuda_release(&cuda->device, engines->workspace.memory, engines->workspace.bytes, -1);
    if (engines->begin != NULL)
        cudaEventDestroy(engines->begin);
    if (engines->end != NULL)
        cudaEventDestroy(engines->end);
    if (engines->handle != NULL)
        cudnnDestroy(engines->handle);
    conv_cache_close(&engines->cache);
    mem_free(engines);
    cuda->conv = NULL;
}

void conv_engines_tune(struct cuda *cuda, const char *folder)
{
    struct conv_engines *engines = cuda->conv;
    char library[32];
    if (engines->is_tuned)
        return;
    cuda_stream(&cuda->device);
    cuda_note(cuda, "event", cudaEventCreate(&engines->begin));
    cuda_note(cuda, "event", cudaEventCreate(&engines->end));
    snprintf(library, sizeof(library), "cudnn %zu", cudnnGetVersion());
    if (conv_cache_open(&engines->cache, folder, library, cuda->gpu) != OK)
        log_debug("event=convolutions_not_kept reason=\"%s\"", fail_message());
    engines->is_tuned = 1;
}

enum status conv_engine_create(struct cuda *cuda, const struct conv_shape *shape,
                               struct conv_engine **ret_engine)
{
    struct conv_engine *engine = mem_zero(sizeof(*engine));
    engine->cuda = cuda;
    engine->shape = *shape;
    const enum status status = create_plans(engine);
    if (status != OK) {
        conv_engine_destroy(engine);
        return status;
    }
    *ret_engine = engine;
    return OK;
}

void conv_engine_destroy(struct conv_engine *engine)
{
    if (engine == NULL)
        return;
    for (int i = 0; i < CONV_DIRECTIONS; i++)
        cudnn_drop(&engine->plans[i].plan);
    mem_free(engine);
}

enum cuda_values conv_engine_grad_values(const struct conv_engine *engine)
{
    return engine->grad_values;
}

static enum status execute(const struct conv_engine *engine, cudnnBackendDescriptor_t plan,
                           const struct conv_run *run)
{
    static const int64_t uids[3] = {CUDNN_UID_X, CUDNN_UID_Y, CUDNN_UID_W};
    struct conv_engines *engines = engine->cuda->conv;
    const void *pointers[3] = {run->x, run->y, run->w};
    enum status status = OK;
    cudnnBackendDescriptor_t pack = NULL;
    cuda_stream(&engine->cuda->device);
    TRY_OUT(cudnn_make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    TRY_OUT(cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, uids));
    TRY_OUT(
        cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers));
    TRY_OUT(cudnn_set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                      &engines->workspace.memory));
    TRY_OUT(cudnn_finalize("arguments", pack));
    TRY_OUT(cudnn_check("run", cudnnBackendExecute(engines->handle, plan, pack)));
out:
    cudnn_drop(&pack);
    return status;
}

static enum status cuda_ok(cudaError_t error)
{
    return error == cudaSuccess ? OK
                                : fail(ERR_DEVICE, "cuda: timing: %s", cudaGetErrorString(error));
}

/* *ret_time_ns: of one run of several, all of them from begin to end on the GPU. */
static enum status time_runs(const struct conv_engine *engine, cudnnBackendDescriptor_t plan,
                             const struct conv_run *run, int runs, int64_t *ret_time_ns)
{
    const struct conv_engines *engines = engine->cuda->conv;
    float ms = 0;
    TRY(cuda_ok(cudaEventRecord(engines->begin, engine->cuda->stream)));
    for (int i = 0; i < runs; i++)
        TRY(execute(engine, plan, run));
    TRY(cuda_ok(cudaEventRecord(engines->end, engine->cuda->stream)));
    TRY(cuda_ok(cudaEventSynchronize(engines->end)));
    TRY(cuda_ok(cudaEventElapsedTime(&ms, engines->begin, engines->end)));
    *ret_time_ns = (int64_t)((double)ms * 1e6 / runs) + 1;
    return OK;
}

/* The index of the winner in plans. A plan that fails is no candidate. */
static int contest_plans(const struct conv_engine *engine, const struct cudnn_plans *plans,
                         const struct conv_run *run, struct conv_contest *contest)
{
    int winner = 0;
    for (int i = 0; i < plans->count; i++) {
        const struct cudnn_plan *plan = &plans->plans[i];
        struct conv_choice choice = {.rank = plan->rank, .engine = plan->engine};
        int64_t warm_up_ns = 0;
        if (!conv_contest_goes_on(contest, engine->cuda->conv->left_ns))
            break;
        if (time_runs(engine, plan->plan, run, 1, &warm_up_ns) != OK ||
            time_runs(engine, plan->plan, run, RUNS, &choice.time_ns) != OK)
            continue;
        conv_contest_add(contest, &choice, warm_up_ns + RUNS * choice.time_ns);
        if (contest->best.rank == choice.rank)
            winner = i;
    }
    return winner;
}

static void take_plan(struct conv_engine *engine, enum conv_direction direction,
                      struct cudnn_plans *plans, int index)
{
    cudnn_drop(&engine->plans[direction].plan);
    engine->plans[direction] = plans->plans[index];
    plans->plans[index].plan = NULL;
}

static enum cuda_values weight_values(const struct conv_engine *engine,
                                      enum conv_direction direction)
{
    return direction == CONV_BACKWARD_WEIGHTS ? engine->grad_values : engine->cuda->values;
}

/* The one that won before. 0: there is none any more. */
static int take_kept(struct conv_engine *engine, enum conv_direction direction,
                     const struct conv_choice *kept)
{
    const struct cudnn_convolution of =
        convolution_of(engine, direction, weight_values(engine, direction));
    struct cudnn_plans plans = {.most = 1, .only_rank = kept->rank};
    int is_taken = 0;
    if (cudnn_plans_find(engine->cuda->conv->handle, &of, &plans) == OK)
        is_taken = plans.plans[0].engine == kept->engine;
    if (is_taken) {
        log_choice(engine, direction, kept, "file");
        take_plan(engine, direction, &plans, 0);
    }
    cudnn_plans_done(&plans);
    return is_taken;
}

static void measure(struct conv_engine *engine, enum conv_direction direction,
                    const struct conv_run *run, const char *key)
{
    struct conv_engines *engines = engine->cuda->conv;
    const struct cudnn_convolution of =
        convolution_of(engine, direction, weight_values(engine, direction));
    struct cudnn_plans plans = {.most = CONV_CANDIDATES, .only_rank = -1};
    struct conv_contest contest = {0};
    const int64_t start_us = clock_us(); /* plans may be compiled: that counts */
    if (cudnn_plans_find(engines->handle, &of, &plans) == OK) {
        const int winner = contest_plans(engine, &plans, run, &contest);
        take_plan(engine, direction, &plans, winner);
    }
    cudnn_plans_done(&plans);
    engines->left_ns -= (clock_us() - start_us) * 1000;
    if (contest.count == 0)
        return;
    log_choice(engine, direction, &contest.best, "measured");
    if (conv_cache_keep(&engines->cache, key, &contest.best) != OK)
        log_debug("event=convolution_not_kept reason=\"%s\"", fail_message());
}

static void settle(struct conv_engine *engine, enum conv_direction direction,
                   const struct conv_run *run)
{
    struct conv_engines *engines = engine->cuda->conv;
    char key[CONV_KEY_BYTES];
    engine->is_settled[direction] = 1;
    key_of(engine, direction, key);
    const struct conv_choice *kept = conv_cache_find(&engines->cache, key);
    if (kept != NULL && take_kept(engine, direction, kept))
        return;
    if (engines->is_tuned && engines->left_ns > 0) {
        measure(engine, direction, run, key);
        return;
    }
    const struct cudnn_plan *plan = &engine->plans[direction];
    const struct conv_choice first = {.rank = plan->rank, .engine = plan->engine};
    log_choice(engine, direction, &first, "heuristic");
}

static void run(struct conv_engine *engine, enum conv_direction direction,
                const struct conv_run *tensors)
{
    if (!engine->is_settled[direction])
        settle(engine, direction, tensors);
    if (execute(engine, engine->plans[direction].plan, tensors) != OK)
        cuda_failed(engine->cuda, direction_names[direction], fail_message());
}

void conv_engine_forward(struct conv_engine *engine, const void *x, const void *w, void *y)
{
    run(engine, CONV_FORWARD, &(struct conv_run){.x = x, .y = y, .w = w});
}

void conv_engine_backward_data(struct conv_engine *engine, const void *dy, const void *w, void *dx)
{
    run(engine, CONV_BACKWARD_DATA, &(struct conv_run){.x = dx, .y = dy, .w = w});
}

void conv_engine_backward_weights(struct conv_engine *engine, const void *x, const void *dy,
                                  void *dw)
{
    run(engine, CONV_BACKWARD_WEIGHTS, &(struct conv_run){.x = x, .y = dy, .w = dw});
}
