/* state.c - the whole training state as one run of floats with names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/state.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/architecture.h"
#include "common/check.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/random.h"
#include "worker/collective/collective.h"
#include "worker/exchange.h"

enum { DIGEST_BYTES = 1 << 20 };

static const char prototypes_start[] = "prototypes";

void state_prototypes_name(const struct config *config, int head,
                           char ret_name[STATE_PROTOTYPES_BYTES])
{
    if (config->model.prototype_heads == 1)
        snprintf(ret_name, STATE_PROTOTYPES_BYTES, "%s", prototypes_start);
    else
        snprintf(ret_name, STATE_PROTOTYPES_BYTES, "%s%d", prototypes_start, head);
}

int state_is_prototypes(const struct state_tensor *tensor)
{
    return tensor->kind == STATE_PARAMETER &&
           strncmp(tensor->name, prototypes_start, strlen(prototypes_start)) == 0;
}

/* Walks the network once for each kind of tensor; only those of `kind` are added. */
struct builder {
    struct state_layout *layout;
    enum state_kind kind;
    int64_t conv_start; /* enum conv_start */
    int capacity;
    size_t floats;
};

struct fill {
    enum state_fill kind;
    double scale;
};

static void add_tensor(struct builder *builder, enum state_kind kind, const char *prefix,
                       const char *suffix, const int64_t shape[4], struct fill fill)
{
    struct state_layout *layout = builder->layout;
    if (kind != builder->kind)
        return;
    if (layout->tensor_count == builder->capacity) {
        builder->capacity = builder->capacity * 2 + 64;
        layout->tensors =
            mem_resize(layout->tensors, (size_t)builder->capacity * sizeof(*layout->tensors));
    }
    struct state_tensor *tensor = &layout->tensors[layout->tensor_count++];
    *tensor = (struct state_tensor){.kind = kind, .offset = builder->floats, .length = 1};
    tensor->fill = fill.kind;
    tensor->fill_scale = fill.scale;
    int length = snprintf(tensor->name, sizeof(tensor->name), "%s%s", prefix, suffix);
    CHECK(length > 0 && length < (int)sizeof(tensor->name));
    while (tensor->rank < 4 && shape[tensor->rank] != 0) {
        tensor->shape[tensor->rank] = shape[tensor->rank];
        tensor->length *= (size_t)shape[tensor->rank++];
    }
    builder->floats += exchange_align(tensor->length);
}

/* in: of a group. */
static void add_conv(struct builder *builder, const char *prefix, int64_t out, int64_t in,
                     int64_t kernel)
{
    const int64_t shape[4] = {out, in, kernel, kernel};
    const struct fill by_out = {STATE_FILL_NORMAL, sqrt(2.0 / (double)(kernel * kernel * out))};
    const struct fill by_in = {STATE_FILL_UNIFORM, 1 / sqrt((double)(kernel * kernel * in))};
    add_tensor(builder, STATE_PARAMETER, prefix, ".weight", shape,
               builder->conv_start == CONV_START_FAN_IN ? by_in : by_out);
}

static void add_bias(struct builder *builder, const char *prefix, int64_t out, int64_t in)
{
    const struct fill fill = {STATE_FILL_UNIFORM, 1 / sqrt((double)in)};
    add_tensor(builder, STATE_PARAMETER, prefix, ".bias", (int64_t[4]){out}, fill);
}

static void add_linear(struct builder *builder, const char *prefix, int64_t out, int64_t in)
{
    const struct fill fill = {STATE_FILL_UNIFORM, 1 / sqrt((double)in)};
    add_tensor(builder, STATE_PARAMETER, prefix, ".weight", (int64_t[4]){out, in}, fill);
    add_bias(builder, prefix, out, in);
}

static void add_norm(struct builder *builder, const char *prefix, int64_t channels)
{
    const int64_t shape[4] = {channels};
    const struct fill zero = {STATE_FILL_CONSTANT, 0}, one = {STATE_FILL_CONSTANT, 1};
    add_tensor(builder, STATE_PARAMETER, prefix, ".weight", shape, one);
    add_tensor(builder, STATE_PARAMETER, prefix, ".bias", shape, zero);
    add_tensor(builder, STATE_STATISTIC, prefix, ".running_mean", shape, zero);
    add_tensor(builder, STATE_STATISTIC, prefix, ".running_var", shape, one);
}

static void add_block(struct builder *builder, const struct architecture_block *block)
{
    char name[ARCHITECTURE_NAME_BYTES];
    const int64_t in = block->in_width, inner = block->inner_width, out = block->out_width;
    const int64_t squeeze = block->squeeze_width;
#define NAMED(module) (architecture_module_name(block, module, name), name)
    if (block->has_projection) {
        add_conv(builder, NAMED(MODULE_PROJ_CONV), out, in, 1);
        add_norm(builder, NAMED(MODULE_PROJ_NORM), out);
    }
    add_conv(builder, NAMED(MODULE_A_CONV), inner, in, 1);
    add_norm(builder, NAMED(MODULE_A_NORM), inner);
    add_conv(builder, NAMED(MODULE_B_CONV), inner, inner / block->groups, 3);
    add_norm(builder, NAMED(MODULE_B_NORM), inner);
    if (squeeze > 0) {
        add_conv(builder, NAMED(MODULE_SQUEEZE_REDUCE), squeeze, inner, 1);
        add_bias(builder, NAMED(MODULE_SQUEEZE_REDUCE), squeeze, inner);
        add_conv(builder, NAMED(MODULE_SQUEEZE_EXPAND), inner, squeeze, 1);
        add_bias(builder, NAMED(MODULE_SQUEEZE_EXPAND), inner, squeeze);
    }
    add_conv(builder, NAMED(MODULE_C_CONV), out, inner, 1);
    add_norm(builder, NAMED(MODULE_C_NORM), out);
#undef NAMED
}

/* The tensors of the network in the order of the forward pass. */
static void add_network(struct builder *builder, const struct config *config,
                        const struct architecture *architecture)
{
    add_conv(builder, architecture_stem_name(architecture->family, 0), architecture->stem_width, 3,
             architecture->stem_kernel);
    add_norm(builder, architecture_stem_name(architecture->family, 1), architecture->stem_width);
    for (int j = 0; j < architecture->block_count; j++)
        add_block(builder, &architecture->blocks[j]);
    int64_t in = architecture_width(architecture);
    for (int i = 0, place = 0; i < config->model.head_count; i++) {
        char name[24];
        const int is_last = i + 1 == config->model.head_count;
        snprintf(name, sizeof(name), "head.%d", place);
        add_linear(builder, name, config->model.head[i], in);
        if (config->model.head_batch_norm && !is_last) {
            snprintf(name, sizeof(name), "head.%d", ++place);
            add_norm(builder, name, config->model.head[i]);
        }
        place += 2; /* the ReLU counts as a layer of torch's Sequential */
        in = config->model.head[i];
    }
    const struct fill fill = {STATE_FILL_UNIFORM, 1 / sqrt((double)in)};
    for (int i = 0; i < config->model.prototype_heads; i++) {
        char name[STATE_PROTOTYPES_BYTES];
        state_prototypes_name(config, i, name);
        add_tensor(builder, STATE_PARAMETER, name, ".weight",
                   (int64_t[4]){config->model.prototypes[i], in}, fill);
    }
}

static void add_momentum(struct builder *builder)
{
    const struct fill zero = {STATE_FILL_CONSTANT, 0};
    const int count = builder->layout->tensor_count;
    for (int i = 0; i < count; i++) {
        const struct state_tensor parameter = builder->layout->tensors[i];
        if (parameter.kind == STATE_PARAMETER)
            add_tensor(builder, STATE_MOMENTUM, "momentum/", parameter.name, parameter.shape, zero);
    }
}

static void add_queue(struct builder *builder, const struct config *config)
{
    const struct fill zero = {STATE_FILL_CONSTANT, 0};
    const int64_t shape[4] = {config->crops[0].count, config->swav.queue_images,
                              config->model.head[config->model.head_count - 1]};
    if (config->swav.queue_images != 0)
        add_tensor(builder, STATE_QUEUE, "queue/embeddings", "", shape, zero);
}

void state_layout_init(struct state_layout *layout, const struct config *config)
{
    struct architecture architecture;
    struct exchange exchange;
    struct builder builder = {
        .layout = layout, .kind = STATE_PARAMETER, .conv_start = config->model.conv_start};
    CHECK(architecture_init(&architecture, config) == OK);
    *layout = (struct state_layout){0};

    add_network(&builder, config, &architecture);
    layout->parameter_floats = builder.floats;
    builder.kind = STATE_STATISTIC;
    add_network(&builder, config, &architecture);
    layout->statistic_floats = builder.floats - layout->parameter_floats;
    builder.kind = STATE_MOMENTUM;
    add_momentum(&builder);
    layout->momentum_floats = layout->parameter_floats;
    builder.kind = STATE_QUEUE;
    size_t before_queue = builder.floats;
    add_queue(&builder, config);
    layout->queue_floats = builder.floats - before_queue;
    layout->total_floats = builder.floats;
    exchange_init(&exchange, config);
    layout->exchange_floats = exchange.total_floats;
    if (config->train.reduction == REDUCTION_EXACT)
        layout->wide_floats = layout->parameter_floats * WIDE_FLOATS;
    if (config->train.bn_group_slots != 0 && config->train.bn_group_slots != config_slots(config))
        layout->group_statistic_floats =
            (size_t)(config_slots(config) / config->train.bn_group_slots * config->crop_count) *
            layout->statistic_floats;
}

void state_layout_done(struct state_layout *layout)
{
    mem_free(layout->tensors);
    *layout = (struct state_layout){0};
}

const struct state_tensor *state_find(const struct state_layout *layout, const char *name)
{
    for (int i = 0; i < layout->tensor_count; i++)
        if (strcmp(layout->tensors[i].name, name) == 0)
            return &layout->tensors[i];
    return NULL;
}

/* Engine nccl rounds gradients into it, whichever generation is at work. */
static enum status take_wire(struct state *state, const struct config *config)
{
    const char *engine = config->collective.engine;
    const int may_be_nccl = strcmp(state->device->ops->name, "cuda") == 0 &&
                            (strcmp(engine, "auto") == 0 || strcmp(engine, "nccl") == 0);
    if (!may_be_nccl || config->train.reduction == REDUCTION_EXACT ||
        strcmp(config->collective.wire, "bf16") != 0)
        return OK;
    const size_t bytes = state->layout.parameter_floats * sizeof(uint16_t) + COLLECTIVE_WIRE_SPARE;
    TRY(state->device->ops->allocate(state->device, bytes, NULL, &state->wire));
    state->wire_bytes = bytes;
    return OK;
}

enum status state_create(const struct config *config, struct device *device,
                         struct state **ret_state)
{
    struct exchange exchange;
    enum status status = OK;
    TRY(architecture_check(config));
    struct state *state = mem_zero(sizeof(*state));
    state->device = device;
    state->fd = -1;
    state->digest_piece = mem_alloc(DIGEST_BYTES);
    state_layout_init(&state->layout, config);

    const struct state_layout *layout = &state->layout;
    state->is_sharded = (int)config->optimizer.sharded;
    state->is_whole = 1;
    momentum_init(&state->kept, device, layout->momentum_floats);
    const size_t floats =
        layout->total_floats + (state->is_sharded ? 0 : layout->parameter_floats) +
        layout->exchange_floats + layout->wide_floats + layout->group_statistic_floats;
    void *memory = NULL;
    TRY_OUT(device->ops->allocate(device, floats * sizeof(float), &state->fd, &memory));
    state->bytes = floats * sizeof(float);
    state->block = memory;
    state->params = state->block;
    state->statistics = state->params + layout->parameter_floats;
    state->momentum = state->statistics + layout->statistic_floats;
    state->queue = state->momentum + layout->momentum_floats;
    state->exchange = state->block + layout->total_floats;
    state->grads = state->momentum;
    if (!state->is_sharded) {
        state->grads = state->exchange;
        state->exchange += layout->parameter_floats;
    }
    exchange_init(&exchange, config);
    state->holdings = (struct slice_holding *)(void *)(state->exchange + exchange.holdings);
    if (layout->wide_floats > 0)
        state->wide_grads = (double *)(void *)(state->exchange + layout->exchange_floats);
    state->group_statistics = state->exchange + layout->exchange_floats + layout->wide_floats;
    TRY_OUT(take_wire(state, config));
    *ret_state = state;
    state = NULL; /* given to the caller */
out:
    state_destroy(state);
    return status;
}

void state_destroy(struct state *state)
{
    if (state == NULL)
        return;
    if (state->block != NULL)
        state->device->ops->release(state->device, state->block, state->bytes, state->fd);
    if (state->wire != NULL)
        state->device->ops->release(state->device, state->wire, state->wire_bytes, -1);
    momentum_done(&state->kept);
    state_layout_done(&state->layout);
    mem_free(state->digest_piece);
    mem_free(state);
}

struct parameter state_parameter(const struct state *state, const char *name)
{
    const struct state_tensor *tensor = state_find(&state->layout, name);
    CHECK(tensor != NULL && tensor->kind == STATE_PARAMETER);
    return (struct parameter){
        .value = state->block + tensor->offset,
        .grad = state->grads + tensor->offset,
        .length = tensor->length,
    };
}

float *state_statistic(const struct state *state, const char *name)
{
    const struct state_tensor *tensor = state_find(&state->layout, name);
    CHECK(tensor != NULL && tensor->kind == STATE_STATISTIC);
    return state->block + tensor->offset;
}

static void normalize(float *rows, int64_t count, int64_t columns)
{
    for (int64_t row = 0; row < count; row++, rows += columns) {
        double square = 0;
        for (int64_t i = 0; i < columns; i++)
            square += (double)rows[i] * (double)rows[i];
        const double norm = sqrt(square);
        for (int64_t i = 0; i < columns; i++)
            rows[i] = (float)((double)rows[i] / (norm > 1e-12 ? norm : 1e-12));
    }
}

void state_fill(const struct state_tensor *tensor, uint64_t seed, float *ret_values)
{
    struct random random;
    const double scale = tensor->fill_scale;
    random_init(&random, seed, RANDOM_STREAM_INIT, hash_bytes(tensor->name, strlen(tensor->name)),
                0);
    for (size_t i = 0; i < tensor->length; i++)
        ret_values[i] = tensor->fill == STATE_FILL_CONSTANT ? (float)scale
                        : tensor->fill == STATE_FILL_NORMAL
                            ? (float)(scale * random_normal(&random))
                            : (float)random_uniform(&random, -scale, scale);
    if (state_is_prototypes(tensor))
        normalize(ret_values, tensor->shape[0], tensor->shape[1]);
}

void state_reset(struct state *state, uint64_t seed)
{
    const struct device_ops *ops = state->device->ops;
    for (int i = 0; i < state->layout.tensor_count; i++) {
        const struct state_tensor *tensor = &state->layout.tensors[i];
        float *values = mem_array(tensor->length, sizeof(*values));
        state_fill(tensor, seed, values);
        ops->upload(state->device, state->block + tensor->offset, values,
                    tensor->length * sizeof(*values));
        mem_free(values);
    }
    state->step = 0;
    state->is_whole = 1;
    state->queue_filled = 0;
    state->loss_scale = (struct loss_scale){0};
}

enum status state_keep_slices(struct state *state, int rank, int size)
{
    if (!state->is_sharded)
        return OK;
    CHECK(state->is_whole);
    const struct slice_holding holding = {(uint32_t)rank, (uint32_t)size};
    return momentum_hold(&state->kept, holding, state->momentum);
}

void state_forget_momentum(struct state *state)
{
    momentum_done(&state->kept);
    state->is_whole = !state->is_sharded;
}

/* In pieces through the host, since the block may lie on another device. */
static uint64_t digest(struct state *state, const float *floats, size_t count)
{
    uint8_t *piece = state->digest_piece;
    const uint8_t *bytes = (const uint8_t *)floats;
    const size_t length = count * sizeof(float);
    uint64_t hash = 0;
    for (size_t at = 0; at < length; at += DIGEST_BYTES) {
        const size_t part = length - at < DIGEST_BYTES ? length - at : DIGEST_BYTES;
        state->device->ops->download(state->device, piece, bytes + at, part);
        hash = hash_bytes_seed(piece, part, hash);
    }
    return hash;
}

uint64_t state_digest(struct state *state)
{
    return digest(state, state->block, state->layout.total_floats);
}

uint64_t state_gradient_digest(struct state *state)
{
    return digest(state, state->grads, state->layout.parameter_floats);
}
