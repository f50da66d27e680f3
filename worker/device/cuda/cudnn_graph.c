/* cudnn_graph.c - which plans cuDNN has for a convolution in one direction. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/cudnn_graph.h"

#include "worker/device/cuda/conv_layout.h"

/* CONFIGS: how far down the heuristic's list we go. */
enum { CONFIGS = 24, NOTES = CUDNN_NUMERICAL_NOTE_TYPE_COUNT };
enum { ALIGNMENT = 16 }; /* of every tensor: channels are multiples of eight */

/* A graph of one operation, while a plan is sought for it. */
struct graph {
    cudnnBackendDescriptor_t x, y, w, conv, operation, graph;
};

enum status cudnn_check(const char *what, cudnnStatus_t status)
{
    if (status == CUDNN_STATUS_SUCCESS)
        return OK;
    return fail(ERR_DEVICE, "cudnn: %s: %s", what, cudnnGetErrorString(status));
}

enum status cudnn_make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *ret_descriptor)
{
    return cudnn_check("descriptor", cudnnBackendCreateDescriptor(type, ret_descriptor));
}

void cudnn_drop(cudnnBackendDescriptor_t *descriptor)
{
    if (*descriptor != NULL)
        cudnnBackendDestroyDescriptor(*descriptor);
    *descriptor = NULL;
}

enum status cudnn_set(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                      cudnnBackendAttributeType_t type, int64_t count, const void *values)
{
    return cudnn_check("attribute",
                       cudnnBackendSetAttribute(descriptor, name, type, count, values));
}

static enum status set_descriptor(cudnnBackendDescriptor_t descriptor,
                                  cudnnBackendAttributeName_t name, cudnnBackendDescriptor_t value)
{
    return cudnn_set(descriptor, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value);
}

enum status cudnn_finalize(const char *what, cudnnBackendDescriptor_t descriptor)
{
    return cudnn_check(what, cudnnBackendFinalize(descriptor));
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
    TRY(cudnn_make(CUDNN_BACKEND_TENSOR_DESCRIPTOR, ret_tensor));
    TRY(cudnn_set(*ret_tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    TRY(cudnn_set(*ret_tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dims));
    TRY(cudnn_set(*ret_tensor, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, strides));
    TRY(cudnn_set(*ret_tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid));
    TRY(cudnn_set(*ret_tensor, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment));
    return cudnn_finalize("tensor", *ret_tensor);
}

static enum status make_convolution(const struct conv_shape *shape,
                                    cudnnBackendDescriptor_t *ret_conv)
{
    const cudnnDataType_t type = CUDNN_DATA_FLOAT; /* of the sums */
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t dimensions = 2, ones[2] = {1, 1};
    const int64_t pad[2] = {shape->kernel / 2, shape->kernel / 2};
    const int64_t stride[2] = {shape->stride, shape->stride};
    TRY(cudnn_make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR, ret_conv));
    TRY(cudnn_set(*ret_conv, CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1,
                  &dimensions));
    TRY(cudnn_set(*ret_conv, CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type));
    TRY(cudnn_set(*ret_conv, CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1,
                  &mode));
    TRY(cudnn_set(*ret_conv, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 2, pad));
    TRY(cudnn_set(*ret_conv, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 2, pad));
    TRY(cudnn_set(*ret_conv, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 2, ones));
    TRY(cudnn_set(*ret_conv, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 2, stride));
    return cudnn_finalize("convolution", *ret_conv);
}

/* What cuDNN calls the parts of each direction's operation. */
static const struct operation {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t conv, x, y, w, alpha, beta;
} operations[CONV_DIRECTIONS] = {
    [CONV_FORWARD] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                      CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    [CONV_BACKWARD_DATA] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    [CONV_BACKWARD_WEIGHTS] = {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

static enum status make_operation(enum conv_direction direction, struct graph *graph)
{
    const struct operation *of = &operations[direction];
    const float one = 1, zero = 0;
    TRY(cudnn_make(of->type, &graph->operation));
    TRY(set_descriptor(graph->operation, of->conv, graph->conv));
    TRY(set_descriptor(graph->operation, of->x, graph->x));
    TRY(set_descriptor(graph->operation, of->y, graph->y));
    TRY(set_descriptor(graph->operation, of->w, graph->w));
    TRY(cudnn_set(graph->operation, of->alpha, CUDNN_TYPE_FLOAT, 1, &one));
    TRY(cudnn_set(graph->operation, of->beta, CUDNN_TYPE_FLOAT, 1, &zero));
    return cudnn_finalize("operation", graph->operation);
}

static enum status graph_init(cudnnHandle_t handle, const struct cudnn_convolution *of,
                              struct graph *graph)
{
    const struct conv_shape *s = &of->shape;
    const int64_t height = (s->height + s->stride - 1) / s->stride;
    const int64_t width = (s->width + s->stride - 1) / s->stride;
    const int64_t x[4] = {s->rows, s->in_channels, s->height, s->width};
    const int64_t y[4] = {s->rows, s->out_channels, height, width};
    const int64_t w[4] = {s->out_channels, s->in_channels / s->groups, s->kernel, s->kernel};
    TRY(make_tensor(CUDNN_UID_X, of->values, x, &graph->x));
    TRY(make_tensor(CUDNN_UID_Y, of->values, y, &graph->y));
    TRY(make_tensor(CUDNN_UID_W, of->weight_values, w, &graph->w));
    TRY(make_convolution(s, &graph->conv));
    TRY(make_operation(of->direction, graph));
    TRY(cudnn_make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR, &graph->graph));
    TRY(cudnn_set(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle));
    TRY(set_descriptor(graph->graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, graph->operation));
    return cudnn_finalize("graph", graph->graph);
}

static void graph_done(struct graph *graph)
{
    cudnn_drop(&graph->graph);
    cudnn_drop(&graph->operation);
    cudnn_drop(&graph->conv);
    cudnn_drop(&graph->w);
    cudnn_drop(&graph->y);
    cudnn_drop(&graph->x);
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
static int is_exact(cudnnBackendDescriptor_t config, enum cuda_values values, int64_t *ret_index)
{
    cudnnBackendNumericalNote_t notes[NOTES];
    cudnnBackendDescriptor_t engine = NULL;
    int64_t count = 0;
    int is_fine = 0;
    if (cudnn_make(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == OK &&
        cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 1, &count, &engine) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1,
                                 &count, ret_index) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                 CUDNN_TYPE_NUMERICAL_NOTE, NOTES, &count,
                                 notes) == CUDNN_STATUS_SUCCESS) {
        is_fine = 1;
        for (int64_t i = 0; i < count && i < NOTES; i++)
            is_fine = is_fine && !is_refused(notes[i], values);
    }
    cudnn_drop(&engine);
    return is_fine;
}

/* NULL if the configuration cannot run here, or not within the workspace. */
static cudnnBackendDescriptor_t plan_of(cudnnHandle_t handle, cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t plan = NULL;
    int64_t count = 0, workspace = 0;
    if (cudnn_make(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan) == OK &&
        cudnn_set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle) == OK &&
        set_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config) == OK &&
        cudnn_finalize("plan", plan) == OK &&
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                 1, &count, &workspace) == CUDNN_STATUS_SUCCESS &&
        workspace <= CUDA_CONV_WORKSPACE)
        return plan;
    cudnn_drop(&plan);
    return NULL;
}

/* Adds what one heuristic proposes; ranks of the fallback's count on from the other's. */
static enum status search(cudnnHandle_t handle, const struct graph *graph,
                          cudnnBackendHeurMode_t mode, enum cuda_values values,
                          struct cudnn_plans *plans)
{
    enum status status = OK;
    cudnnBackendDescriptor_t heuristic = NULL, configs[CONFIGS] = {0};
    int64_t count = 0;
    const int first_rank = mode == CUDNN_HEUR_MODE_FALLBACK ? CONFIGS : 0;
    TRY_OUT(cudnn_make(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic));
    TRY_OUT(set_descriptor(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph->graph));
    TRY_OUT(cudnn_set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    TRY_OUT(cudnn_finalize("heuristic", heuristic));
    for (int i = 0; i < CONFIGS; i++)
        TRY_OUT(cudnn_make(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[i]));
    TRY_OUT(cudnn_check("engines", cudnnBackendGetAttribute(
                                       heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, CONFIGS, &count, configs)));
    for (int i = 0; i < (int)count && i < CONFIGS && plans->count < plans->most; i++) {
        struct cudnn_plan *plan = &plans->plans[plans->count];
        *plan = (struct cudnn_plan){.rank = first_rank + i};
        const int is_wanted = plans->only_rank < 0 || plans->only_rank == plan->rank;
        if (is_wanted && is_exact(configs[i], values, &plan->engine))
            plan->plan = plan_of(handle, configs[i]);
        plans->count += plan->plan != NULL;
    }
out:
    for (int i = 0; i < CONFIGS; i++)
        cudnn_drop(&configs[i]);
    cudnn_drop(&heuristic);
    return status;
}

static enum status no_engine(const struct cudnn_convolution *of)
{
    char key[CONV_KEY_BYTES];
    conv_key(&of->shape, of->name, "", key);
    return fail(ERR_DEVICE, "cudnn: no deterministic engine for the convolution %s", key);
}

enum status cudnn_plans_find(cudnnHandle_t handle, const struct cudnn_convolution *of,
                             struct cudnn_plans *plans)
{
    static const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    struct graph graph = {0};
    plans->count = 0;
    enum status status = graph_init(handle, of, &graph);
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes) && status == OK && plans->count == 0; i++)
        status = search(handle, &graph, modes[i], of->values, plans);
    graph_done(&graph);
    if (status == OK && plans->count == 0)
        status = no_engine(of);
    return status;
}

void cudnn_plans_done(struct cudnn_plans *plans)
{
    for (int i = 0; i < plans->count; i++)
        cudnn_drop(&plans->plans[i].plan);
    plans->count = 0;
}
