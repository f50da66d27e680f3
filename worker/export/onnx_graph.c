/* onnx_graph.c - layer after layer, in the order of the forward pass. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/export/onnx_graph.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/architecture.h"
#include "common/mem.h"
#include "proto/onnx_file.h"
#include "worker/state.h"

enum { NAME_BYTES = 128, KEPT_MAX = 4 * ARCHITECTURE_BLOCKS_MAX * 8 };

#define INPUT "images"

struct graph {
    const struct saved_state *saved;
    struct onnx_file *file;
    int tensor_count;
    int kept_count;
    float *kept[KEPT_MAX]; /* folded weights, until the file is written */
};

/* A convolution or a linear layer, and the BN behind it. Names are the snapshot's, without
 * ".weight". */
struct layer {
    const char *name;
    const char *norm; /* NULL: none */
    int has_bias;     /* of its own */
    int kernel;       /* 0: linear */
    int stride, groups;
};

static const float *find(const struct graph *graph, const char *name, const char *suffix, int rank,
                         int64_t rows, const struct safetensors_tensor **ret_tensor)
{
    char whole[NAME_BYTES + 16];
    snprintf(whole, sizeof(whole), "%s%s", name, suffix);
    const struct safetensors_tensor *tensor = safetensors_find(&graph->saved->file.header, whole);
    const int is_good = tensor != NULL && tensor->type == SAFETENSORS_F32 && tensor->rank == rank &&
                        (rows == 0 || tensor->shape[0] == rows);
    if (!is_good) {
        fail(ERR_CORRUPT, "'%s': tensor '%s' is missing, not F32 or of another shape",
             graph->saved->path, whole);
        return NULL;
    }
    if (ret_tensor != NULL)
        *ret_tensor = tensor;
    return tensor->data;
}

static float *keep(struct graph *graph, size_t count)
{
    return graph->kept[graph->kept_count++] = mem_array(count, sizeof(float));
}

/* y = (W x + b - mean) gamma / sqrt(var + eps) + beta = (s W) x + (s (b - mean) + beta). */
static enum status fold(struct graph *graph, const struct layer *layer, const float *weights,
                        int64_t rows, int64_t columns, float *ret_weights, float *ret_bias)
{
    const float *gamma = NULL, *beta = NULL, *mean = NULL, *variance = NULL, *bias = NULL;
    const double eps = graph->saved->config.model.bn_eps;
    if (layer->norm != NULL) {
        gamma = find(graph, layer->norm, ".weight", 1, rows, NULL);
        beta = find(graph, layer->norm, ".bias", 1, rows, NULL);
        mean = find(graph, layer->norm, ".running_mean", 1, rows, NULL);
        variance = find(graph, layer->norm, ".running_var", 1, rows, NULL);
        if (gamma == NULL || beta == NULL || mean == NULL || variance == NULL)
            return ERR_CORRUPT; /* find has said so */
    }
    if (layer->has_bias && (bias = find(graph, layer->name, ".bias", 1, rows, NULL)) == NULL)
        return ERR_CORRUPT;
    for (int64_t row = 0; row < rows; row++) {
        const double own = bias != NULL ? (double)bias[row] : 0;
        double scale = 1, shift = own;
        if (layer->norm != NULL) {
            scale = (double)gamma[row] / sqrt((double)variance[row] + eps);
            shift = scale * (own - (double)mean[row]) + (double)beta[row];
        }
        ret_bias[row] = (float)shift;
        for (int64_t i = 0; i < columns; i++)
            ret_weights[row * columns + i] = (float)(scale * (double)weights[row * columns + i]);
    }
    return OK;
}

/* Without our prefix: as torchvision calls it. */
static const char *public_name(const char *name)
{
    static const char trunk[] = "trunk.";
    return strncmp(name, trunk, strlen(trunk)) == 0 ? name + strlen(trunk) : name;
}

static void add_operator(struct graph *graph, const struct layer *layer, const char *input,
                         const char *weight, const char *bias, const char *output)
{
    const int64_t pad = layer->kernel / 2, stride = layer->stride;
    if (layer->kernel == 0) {
        onnx_add_node(graph->file, &(struct onnx_node){.op = "Gemm",
                                                       .inputs = {input, weight, bias},
                                                       .output = output,
                                                       .attributes = {{"transB", .number = 1}}});
        return;
    }
    onnx_add_node(
        graph->file,
        &(struct onnx_node){.op = "Conv",
                            .inputs = {input, weight, bias},
                            .output = output,
                            .attributes = {{"kernel_shape", 2, {layer->kernel, layer->kernel}, 0},
                                           {"strides", 2, {stride, stride}, 0},
                                           {"pads", 4, {pad, pad, pad, pad}, 0},
                                           {"dilations", 2, {1, 1}, 0},
                                           {"group", .number = layer->groups}}});
}

/* output: NULL: the layer's own name, which ret_output gets. */
static enum status add_layer(struct graph *graph, const struct layer *layer, const char *input,
                             const char *output, char ret_output[NAME_BYTES])
{
    const struct safetensors_tensor *tensor = NULL;
    char weight_name[NAME_BYTES + 8], bias_name[NAME_BYTES + 8], own[NAME_BYTES];
    const float *values =
        find(graph, layer->name, ".weight", layer->kernel > 0 ? 4 : 2, 0, &tensor);
    if (values == NULL)
        return ERR_CORRUPT;
    const int64_t rows = tensor->shape[0];
    const int64_t columns = (int64_t)safetensors_elements(tensor) / (rows > 0 ? rows : 1);
    float *weights = keep(graph, (size_t)(rows * columns)), *bias = keep(graph, (size_t)rows);
    TRY(fold(graph, layer, values, rows, columns, weights, bias));
    const char *name = public_name(layer->name);
    snprintf(own, sizeof(own), "%s", output != NULL ? output : name);
    snprintf(weight_name, sizeof(weight_name), "%s.weight", name);
    snprintf(bias_name, sizeof(bias_name), "%s.bias", name);
    onnx_add_tensor(graph->file, weight_name, tensor->rank, tensor->shape, weights);
    onnx_add_tensor(graph->file, bias_name, 1, &rows, bias);
    graph->tensor_count += 2;
    add_operator(graph, layer, input, weight_name, bias_name, own);
    memcpy(ret_output, own, sizeof(own)); /* which may be where input lies */
    return OK;
}

/* One that has neither constants nor attributes; its name is the first input's with a word more. */
static void add_plain(struct graph *graph, const char *op, const char *first, const char *second,
                      const char *word, char ret_output[NAME_BYTES])
{
    char output[NAME_BYTES];
    snprintf(output, sizeof(output), "%.*s.%s", NAME_BYTES - 16, first, word);
    onnx_add_node(graph->file,
                  &(struct onnx_node){.op = op, .inputs = {first, second}, .output = output});
    memcpy(ret_output, output, sizeof(output));
}

/* A convolution of a block, its BN, and (is_active) ReLU. */
static enum status add_conv(struct graph *graph, const struct architecture_block *block,
                            enum architecture_module conv, enum architecture_module norm,
                            const struct layer *form, int is_active, const char *input,
                            char ret_output[NAME_BYTES])
{
    char name[ARCHITECTURE_NAME_BYTES], norm_name[ARCHITECTURE_NAME_BYTES];
    struct layer layer = *form;
    architecture_module_name(block, conv, name);
    architecture_module_name(block, norm, norm_name);
    layer.name = name;
    layer.norm = norm_name;
    TRY(add_layer(graph, &layer, input, NULL, ret_output));
    if (is_active)
        add_plain(graph, "Relu", ret_output, NULL, "relu", ret_output);
    return OK;
}

/* x sigmoid(W2 relu(W1 mean(x) + b1) + b2). */
static enum status add_squeeze(struct graph *graph, const struct architecture_block *block,
                               const char *input, char ret_output[NAME_BYTES])
{
    char name[ARCHITECTURE_NAME_BYTES], gate[NAME_BYTES];
    struct layer layer = {.name = name, .has_bias = 1, .kernel = 1, .stride = 1, .groups = 1};
    add_plain(graph, "GlobalAveragePool", input, NULL, "mean", gate);
    architecture_module_name(block, MODULE_SQUEEZE_REDUCE, name);
    TRY(add_layer(graph, &layer, gate, NULL, gate));
    add_plain(graph, "Relu", gate, NULL, "relu", gate);
    architecture_module_name(block, MODULE_SQUEEZE_EXPAND, name);
    TRY(add_layer(graph, &layer, gate, NULL, gate));
    add_plain(graph, "Sigmoid", gate, NULL, "sigmoid", gate);
    add_plain(graph, "Mul", input, gate, "scaled", ret_output);
    return OK;
}

static enum status add_block(struct graph *graph, const struct architecture_block *block,
                             const char *input, char ret_output[NAME_BYTES])
{
    const struct layer point = {.kernel = 1, .stride = 1, .groups = 1};
    const struct layer grouped = {.kernel = 3, .stride = block->stride, .groups = block->groups};
    const struct layer shortcut = {.kernel = 1, .stride = block->stride, .groups = 1};
    char side[NAME_BYTES], main[NAME_BYTES];
    snprintf(side, sizeof(side), "%s", input);
    if (block->has_projection)
        TRY(add_conv(graph, block, MODULE_PROJ_CONV, MODULE_PROJ_NORM, &shortcut, 0, input, side));
    TRY(add_conv(graph, block, MODULE_A_CONV, MODULE_A_NORM, &point, 1, input, main));
    TRY(add_conv(graph, block, MODULE_B_CONV, MODULE_B_NORM, &grouped, 1, main, main));
    if (block->squeeze_width > 0)
        TRY(add_squeeze(graph, block, main, main));
    TRY(add_conv(graph, block, MODULE_C_CONV, MODULE_C_NORM, &point, 0, main, main));
    add_plain(graph, "Add", main, side, "sum", main);
    add_plain(graph, "Relu", main, NULL, "relu", ret_output);
    return OK;
}

static enum status add_stem(struct graph *graph, const struct architecture *architecture,
                            char ret_output[NAME_BYTES])
{
    const struct layer stem = {.name = architecture_stem_name(architecture->family, 0),
                               .norm = architecture_stem_name(architecture->family, 1),
                               .kernel = architecture->stem_kernel,
                               .stride = architecture->stem_stride,
                               .groups = 1};
    TRY(add_layer(graph, &stem, INPUT, NULL, ret_output));
    add_plain(graph, "Relu", ret_output, NULL, "relu", ret_output);
    if (!architecture->has_stem_pool)
        return OK;
    onnx_add_node(graph->file, &(struct onnx_node){.op = "MaxPool",
                                                   .inputs = {ret_output},
                                                   .output = "maxpool",
                                                   .attributes = {{"kernel_shape", 2, {3, 3}, 0},
                                                                  {"strides", 2, {2, 2}, 0},
                                                                  {"pads", 4, {1, 1, 1, 1}, 0}}});
    snprintf(ret_output, NAME_BYTES, "maxpool");
    return OK;
}

static enum status add_trunk(struct graph *graph, const struct architecture *architecture)
{
    char last[NAME_BYTES];
    const int64_t sizes[2] = {-1, architecture_width(architecture)};
    TRY(add_stem(graph, architecture, last));
    for (int i = 0; i < architecture->block_count; i++)
        TRY(add_block(graph, &architecture->blocks[i], last, last));
    add_plain(graph, "GlobalAveragePool", last, NULL, "mean", last);
    onnx_add_node(graph->file, &(struct onnx_node){.op = "Flatten",
                                                   .inputs = {last},
                                                   .output = "features",
                                                   .attributes = {{"axis", .number = 1}}});
    onnx_add_output(graph->file, "features", 2, sizes);
    return OK;
}

/* Linear layers, BN and ReLU between them as worker/state.h numbers them; then unit vectors. */
static enum status add_head(struct graph *graph)
{
    const struct config *config = &graph->saved->config;
    char last[NAME_BYTES] = "features", name[32], norm[32];
    const int64_t count = config->model.head_count;
    for (int64_t i = 0, place = 0; i < count; i++, place += 2) {
        struct layer layer = {.name = name, .has_bias = 1};
        const int is_last = i + 1 == count;
        snprintf(name, sizeof(name), "head.%" PRId64, place);
        if (config->model.head_batch_norm && !is_last) {
            snprintf(norm, sizeof(norm), "head.%" PRId64, ++place);
            layer.norm = norm;
        }
        TRY(add_layer(graph, &layer, last, NULL, last));
        if (!is_last)
            add_plain(graph, "Relu", last, NULL, "relu", last);
    }
    const int64_t sizes[2] = {-1, config->model.head[count - 1]};
    onnx_add_node(graph->file, &(struct onnx_node){
                                   .op = "ReduceL2",
                                   .inputs = {last},
                                   .output = "norm",
                                   .attributes = {{"axes", 1, {1}, 0}, {"keepdims", .number = 1}}});
    onnx_add_node(graph->file, &(struct onnx_node){
                                   .op = "Div", .inputs = {last, "norm"}, .output = "embeddings"});
    onnx_add_output(graph->file, "embeddings", 2, sizes);
    return OK;
}

static enum status add_prototypes(struct graph *graph)
{
    const struct config *config = &graph->saved->config;
    for (int head = 0; head < config->model.prototype_heads; head++) {
        const int64_t sizes[2] = {-1, config->model.prototypes[head]};
        char name[STATE_PROTOTYPES_BYTES], scores[STATE_PROTOTYPES_BYTES] = "scores";
        const struct layer layer = {.name = name};
        char last[NAME_BYTES];
        state_prototypes_name(config, head, name);
        if (config->model.prototype_heads > 1)
            snprintf(scores, sizeof(scores), "scores%d", head);
        TRY(add_layer(graph, &layer, "embeddings", scores, last));
        onnx_add_output(graph->file, scores, 2, sizes);
    }
    return OK;
}

static void add_about(struct graph *graph)
{
    const struct saved_state *saved = graph->saved;
    const struct config *config = &saved->config;
    const int64_t size = config->crops[0].size, sizes[4] = {-1, 3, size, size};
    char text[128];
    onnx_add_input(graph->file, INPUT, 4, sizes);
    snprintf(text, sizeof(text), "%" PRIu64, saved->step);
    onnx_add_metadata(graph->file, "everseer.step", text);
    onnx_add_metadata(graph->file, "run", config->run.name);
    onnx_add_metadata(graph->file, "images", "RGB, 0 to 1, (value - mean) / std");
    snprintf(text, sizeof(text), "%.9g, %.9g, %.9g", config->augment.mean[0],
             config->augment.mean[1], config->augment.mean[2]);
    onnx_add_metadata(graph->file, "mean", text);
    snprintf(text, sizeof(text), "%.9g, %.9g, %.9g", config->augment.std[0], config->augment.std[1],
             config->augment.std[2]);
    onnx_add_metadata(graph->file, "std", text);
}

static enum status build(struct graph *graph, const struct architecture *architecture, int has_head)
{
    add_about(graph);
    TRY(add_trunk(graph, architecture));
    if (!has_head)
        return OK;
    TRY(add_head(graph));
    return add_prototypes(graph);
}

enum status onnx_graph_save(const struct saved_state *saved, int has_head, int is_external,
                            const char *path, int *ret_count, int *ret_is_external)
{
    struct architecture *architecture = mem_zero(sizeof(*architecture));
    struct graph *graph = mem_zero(sizeof(*graph));
    graph->saved = saved;
    graph->file = onnx_create(saved->config.run.name, "Features of a trunk trained by everseer "
                                                      "(SwAV), BN folded.");
    enum status status = architecture_init(architecture, &saved->config);
    if (status == OK)
        status = build(graph, architecture, has_head);
    if (status == OK)
        status = onnx_save(graph->file, path, is_external, ret_is_external);
    if (status == OK)
        *ret_count = graph->tensor_count;
    onnx_destroy(graph->file);
    for (int i = 0; i < graph->kept_count; i++)
        mem_free(graph->kept[i]);
    mem_free(graph);
    mem_free(architecture);
    return status;
}
