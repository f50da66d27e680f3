/* conv_cudnn.c - convolutions by cuDNN's graph interface.
 *
 * Each direction of a convolution is a graph of one operation. cuDNN's heuristic lists engines for
 * it, best first; the first one is taken that is deterministic, loses no precision and needs no
 * more workspace than we give. No timing: the same library on the same GPU takes the same engine,
 * so that a run repeats bit by bit. Groups follow from the number of input channels of the weights.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/conv_engine.h"

#include <cudnn.h>

#include "common/mem.h"

/* WORKSPACE: more than fast engines ask for, less than a thousandth of the GPUs that train large
 * models. CONFIGS: how far down the heuristic's list we go. */
enum { WORKSPACE_BYTES = 256 << 20, CONFIGS = 24, NOTES = CUDNN_NUMERICAL_NOTE_TYPE_COUNT };
enum { UID_X = 1, UID_Y, UID_W };
enum { ALIGNMENT = 16 }; /* of every tensor: channels are multiples of eight */

enum direction { FORWARD, BACKWARD_DATA, BACKWARD_WEIGHTS, DIRECTIONS };

struct conv_engines {
    cudnnHandle_t handle;
    struct cuda_scratch workspace;
};

struct conv_engine {
    struct cuda *cuda;
    struct conv_shape shape;
    enum cuda_values grad_values;
    cudnnBackendDescriptor_t plans[DIRECTIONS];
};

/* A graph of one operation, while a plan is sought for it. */
struct graph {
    cudnnBackendDescriptor_t x, y, w, conv, operation, graph;
};

static enum status check(const char *what, cudnnStatus_t status)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return OK;
    return fail(ERR_DEVICE, "cudnn: %s: %s", what, cudnnGetErrorString(status));
}

static enum status make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *ret_descriptor)
{
    return check("descriptor", cudnnBackendCreateDescriptor(type, ret_descriptor));
}

static void drop(cudnnBackendDescriptor_t *descriptor)
{
    if (*descriptor != NULL)
        cudnnBackendDestroyDescriptor(*descriptor);
    *descriptor = NULL;
}

static enum status set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                       cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    return check("attribute", cudnnBackendSetAttribute(descriptor, name, type, count, values));
}

static enum status set_descriptor(cudnnBackendDescriptor_t descriptor,
                                  cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    return set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

static enum status finalize(const char *what, cudnnBackendDescriptor_t descriptor)
{
    return check(what, cudnnBackendFinalize(descriptor));
}

static cudnnDataType_t type_of(enum cuda_values values)
{
    static const cudnnDataType_t types[] = {[CUDA_BF16] = CUDNN_DATA_BFLOAT16,
                                            [CUDA_FP16] = CUDNN_DATA_HALF,
                                            [CUDA_FP32] = CUDNN_DATA_FLOAT};
    return types[values];
}

/* dims: [n][c][h][w], in memory [n][h][w][c]. */
static enum status make_tensor(int64_t uid, enum cuda_values values, const int64_t dims[4],
                               cudnnBackendDescriptor_t *ret_tensor)
{
    const cudnnDataType_t type = type_of(values);
    const int64_t alignment = ALIGNMENT;
    const int64_t strides[4] = {dims[1] * dims[2] * dims[3], 1, dims[3] * dims[1], dims[1]};
    TRY(make(CUDNN_BACKEND_TENSOR_DESCRIPTOR, ret_tensor));
    TRY(set(*ret_tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    TRY(set(*ret_tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims));
    TRY(set(*ret_tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides));
    TRY(set(*ret_tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid));
    TRY(set(*ret_tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment));
    return finalize("tensor", *ret_tensor);
}

static enum status make_convolution(const struct conv_shape *shape,
                                    cudnnBackendDescriptor_t *ret_conv)
{
    const cudnnDataType_t type = CUDNN_DATA_FLOAT; /* of the sums */
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t dimensions = 2, ones[2] = {1, 1};
    const int64_t pad[2] = {shape->kernel / 2, shape->kernel / 2};
    const int64_t stride[2] = {shape->stride, shape->stride};
    TRY(make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, ret_conv));
    TRY(set(*ret_conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &dimensions));
    TRY(set(*ret_conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    TRY(set(*ret_conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode));
    TRY(set(*ret_conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad));
    TRY(set(*ret_conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad));
    TRY(set(*ret_conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones));
    TRY(set(*ret_conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride));
    return finalize("convolution", *ret_conv);
}

/* What cuDNN calls the parts of each direction's operation. */
static const struct operation {
    const char *name;
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, x, y, w, alpha, beta;
} operations[DIRECTIONS] = {
    [FORWARD] = {"forward", CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                 CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [BACKWARD_DATA] = {"backward data",
                       CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                       CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [BACKWARD_WEIGHTS] = {"backward weights",
                          CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static enum status make_operation(enum direction direction, struct graph *graph)
{
    const struct operation *of = &operations[direction];
    const float one = 1, zero = 0;
    TRY(make(of->type, &graph->operation));
    TRY(set_descriptor(graph->operation, of->conv, graph->conv));
    TRY(set_descriptor(graph->operation, of->x, graph->x));
    TRY(set_descriptor(graph->operation, of->y, graph->y));
    TRY(set_descriptor(graph->operation, of->w, graph->w));
    TRY(set(graph->operation, of->alpha, CUDNN_TYPE_FLOAT, 1, &one));
    TRY(set(graph->operation, of->beta, CUDNN_TYPE_FLOAT, 1, &zero));
    return finalize("operation", graph->operation);
}

static enum status graph_init(const struct conv_engine *engine, enum direction direction,
                              enum cuda_values weight_values, struct graph *graph)
{
    const struct conv_shape *s = &engine->shape;
    const enum cuda_values values = engine->cuda->values;
    const int64_t height = (s->height + s->stride - 1) / s->stride;
    const int64_t width = (s->width + s->stride - 1) / s->stride;
    const int64_t x[4] = {s->rows, s->in_channels, s->height, s->width};
    const int64_t y[4] = {s->rows, s->out_channels, height, width};
    const int64_t w[4] = {s->out_channels, s->in_channels / s->groups, s->kernel, s->kernel};
    TRY(make_tensor(UID_X, values, x, &graph->x));
    TRY(make_tensor(UID_Y, values, y, &graph->y));
    TRY(make_tensor(UID_W, weight_values, w, &graph->w));
    TRY(make_convolution(s, &graph->conv));
    TRY(make_operation(direction, graph));
    TRY(make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph->graph));
    TRY(set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1,
            &engine->cuda->conv->handle));
    TRY(set_descriptor(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, graph->operation));
    return finalize("graph", graph->graph);
}

static void graph_done(struct graph *graph)
{
    drop(&graph->graph);
    drop(&graph->operation);
    drop(&graph->conv);
    drop(&graph->w);
    drop(&graph->y);
    drop(&graph->x);
}

/* Whether a numerical property of an engine is one we do without. With fp32 activations, which are
 * for comparisons, tensor cores are out too: they would round to tf32. */
static int is_refused(cudnnBackendNumericalNote_t note, enum cuda_values values)
{
    switch (note) {
    case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
    case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
    case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
    case CUDNN_NUMERICAL_NOTE_FFT:
    case CUDNN_NUMERICAL_NOTE_WINOGRAD:
        return 1;
    case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        return values == CUDA_FP32;
    default:
        return 0;
    }
}

/* Whether the engine of a configuration may be used; no if it does not say. */
static int is_exact(cudnnBackendDescriptor_t config, enum cuda_values values)
{
    cudnnBackendNumericalNote_t notes[NOTES];
    cudnnBackendDescriptor_t engine = NULL;
    int64_t count = 0;
    int is_fine = 0;
    if (make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == OK &&
        cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 1, &count, &engine) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                 CUDNN_TYPE_NUMERICAL_NOTE, NOTES, &count,
                                 notes) == CUDNN_STATUS_SUCCESS) {
        is_fine = 1;
        for (int64_t i = 0; i < count && i < NOTES; i++)
            is_fine = is_fine && !is_refused(notes[i], values);
    }
    drop(&engine);
    return is_fine;
}

/* NULL if the configuration cannot run here, or not within the workspace. */
static cudnnBackendDescriptor_t plan_of(cudnnHandle_t handle, cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t plan = NULL;
    int64_t count = 0, workspace = 0;
    if (make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan) == OK &&
        set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) == OK &&
        set_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config) == OK &&
        finalize("plan", plan) == OK &&
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                 1, &count, &workspace) == CUDNN_STATUS_SUCCESS &&
        workspace <= WORKSPACE_BYTES)
        return plan;
    drop(&plan);
    return NULL;
}

/* Goes through what one heuristic proposes. OK with *ret_plan NULL: nothing suits. */
static enum status search(const struct conv_engine *engine, const struct graph *graph,
                          cudnnBackendHeurMode_t mode, cudnnBackendDescriptor_t *ret_plan)
{
    enum status status = OK;
    cudnnBackendDescriptor_t heuristic = NULL, configs[CONFIGS] = {0};
    int64_t count = 0;
    TRY_OUT(make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic));
    TRY_OUT(set_descriptor(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph->graph));
    TRY_OUT(set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    TRY_OUT(finalize("heuristic", heuristic));
    for (int i = 0; i < CONFIGS; i++)
        TRY_OUT(make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[i]));
    TRY_OUT(check("engines", cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                      CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS,
                                                      &count, configs)));
    for (int64_t i = 0; i < count && i < CONFIGS && *ret_plan == NULL; i++)
        if (is_exact(configs[i], engine->cuda->values))
            *ret_plan = plan_of(engine->cuda->conv->handle, configs[i]);
out:
    for (int i = 0; i < CONFIGS; i++)
        drop(&configs[i]);
    drop(&heuristic);
    return status;
}

static enum status no_engine(const struct conv_engine *engine, enum direction direction)
{
    const struct conv_shape *s = &engine->shape;
    return fail(ERR_DEVICE,
                "cudnn: no deterministic engine for the convolution (%s) rows=%d %dx%d "
                "channels=%d->%d kernel=%d stride=%d groups=%d",
                operations[direction].name, s->rows, s->height, s->width, s->in_channels,
                s->out_channels, s->kernel, s->stride, s->groups);
}

static enum status plan_create(struct conv_engine *engine, enum direction direction,
                               enum cuda_values weight_values)
{
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    struct graph graph = {0};
    cudnnBackendDescriptor_t plan = NULL;
    enum status status = graph_init(engine, direction, weight_values, &graph);
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes) && status == OK && plan == NULL; i++)
        status = search(engine, &graph, modes[i], &plan);
    graph_done(&graph);
    if (status == OK && plan == NULL)
        status = no_engine(engine, direction);
    engine->plans[direction] = plan;
    return status;
}

/* The gradient of the weights in fp32 if cuDNN can, else as the activations are. */
static enum status create_plans(struct conv_engine *engine)
{
    const enum cuda_values values = engine->cuda->values;
    TRY(plan_create(engine, FORWARD, values));
    if (engine->shape.needs_input_gradient)
        TRY(plan_create(engine, BACKWARD_DATA, values));
    engine->grad_values = CUDA_FP32;
    if (plan_create(engine, BACKWARD_WEIGHTS, CUDA_FP32) == OK)
        return OK;
    engine->grad_values = values;
    return plan_create(engine, BACKWARD_WEIGHTS, values);
}

enum status conv_engines_start(struct cuda *cuda)
{
    struct conv_engines *engines = cuda->conv = mem_zero(sizeof(*engines));
    TRY(check("start", cudnnCreate(&engines->handle)));
    TRY(check("stream", cudnnSetStream(engines->handle, cuda->stream)));
    return cuda_scratch_grow(cuda, &engines->workspace, WORKSPACE_BYTES);
}

void conv_engines_stop(struct cuda *cuda)
{
    struct conv_engines *engines = cuda->conv;
    if (engines == NULL)
        return;
    cuda_release(&cuda->device, engines->workspace.memory, engines->workspace.bytes, -1);
    if (engines->handle != NULL)
        cudnnDestroy(engines->handle);
    mem_free(engines);
    cuda->conv = NULL;
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
    for (int i = 0; i < DIRECTIONS; i++)
        drop(&engine->plans[i]);
    mem_free(engine);
}

enum cuda_values conv_engine_grad_values(const struct conv_engine *engine)
{
    return engine->grad_values;
}

static enum status execute(struct conv_engine *engine, enum direction direction, const void *x,
                           const void *y, const void *w)
{
    static const int64_t uids[3] = {UID_X, UID_Y, UID_W};
    struct conv_engines *engines = engine->cuda->conv;
    const void *pointers[3] = {x, y, w};
    enum status status = OK;
    cudnnBackendDescriptor_t pack = NULL;
    cuda_stream(&engine->cuda->device);
    TRY_OUT(make(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &pack));
    TRY_OUT(set(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, uids));
    TRY_OUT(set(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, pointers));
    TRY_OUT(set(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1,
                &engines->workspace.memory));
    TRY_OUT(finalize("arguments", pack));
    TRY_OUT(check("run", cudnnBackendExecute(engines->handle, engine->plans[direction], pack)));
out:
    drop(&pack);
    return status;
}

static void run(struct conv_engine *engine, enum direction direction, const void *x, const void *y,
                const void *w)
{
    if (execute(engine, direction, x, y, w) != OK)
        cuda_failed(engine->cuda, operations[direction].name, fail_message());
}

void conv_engine_forward(struct conv_engine *engine, const void *x, const void *w, void *y)
{
    run(engine, FORWARD, x, y, w);
}

void conv_engine_backward_data(struct conv_engine *engine, const void *dy, const void *w, void *dx)
{
    run(engine, BACKWARD_DATA, dx, dy, w);
}

void conv_engine_backward_weights(struct conv_engine *engine, const void *x, const void *dy,
                                  void *dw)
{
    run(engine, BACKWARD_WEIGHTS, x, dy, dw);
}
