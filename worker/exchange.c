/* exchange.c - where each small reduction has its place behind the state. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/exchange.h"

#include "common/architecture.h"
#include "common/check.h"
#include "common/slice.h"
#include "worker/model/bn_groups.h"

enum {
    SHARE_FLOATS = sizeof(struct bn_share) / sizeof(float),
    HOLDING_FLOATS = sizeof(struct slice_holding) / sizeof(float),
};

/* Channels of the widest pair of BN layers that share a message (see norm_share). */
static size_t widest_norms(const struct config *config)
{
    struct architecture architecture;
    CHECK(architecture_init(&architecture, config) == OK);
    size_t widest = (size_t)architecture.stem_width;
    for (int j = 0; j < architecture.block_count; j++) {
        const struct architecture_block *block = &architecture.blocks[j];
        const size_t inner = (size_t)block->inner_width;
        const size_t out = (size_t)block->out_width * (block->has_projection ? 2 : 1);
        widest = inner > widest ? inner : widest;
        widest = out > widest ? out : widest;
    }
    for (int i = 0; i + 1 < config->model.head_count; i++)
        if (config->model.head_batch_norm && (size_t)config->model.head[i] > widest)
            widest = (size_t)config->model.head[i];
    return widest;
}

void exchange_init(struct exchange *exchange, const struct config *config)
{
    const size_t slots = (size_t)config_slots(config);
    const size_t group_slots = (size_t)config->train.bn_group_slots;
    const size_t groups = group_slots == 0 ? 1 : slots / group_slots;
    const size_t width = config->train.reduction == REDUCTION_EXACT ? WIDE_FLOATS : 1;
    const size_t assigned = (size_t)config->crops[0].count;
    const size_t embedding = (size_t)config->model.head[config->model.head_count - 1];
    const size_t embeddings = config->swav.queue_images == 0
                                  ? 0
                                  : assigned * (size_t)config->train.batch_images * embedding;

    const size_t norms =
        exchange_align((size_t)config->crop_count * groups * 2 * widest_norms(config) * width);

    exchange->norms[0] = 0;
    exchange->norms[1] = norms;
    exchange->max = 2 * norms;
    exchange->prototypes = exchange->max + exchange_align(CONFIG_PROTOTYPES_MAX);
    exchange->tail =
        exchange->prototypes + exchange_align(assigned * (size_t)config_prototypes(config) * width);
    exchange->embeddings = exchange->tail + exchange_align(slots);
    exchange->tail_floats = exchange_align(slots) + embeddings;
    exchange->seal = exchange->tail + exchange_align(exchange->tail_floats);
    exchange->shares = exchange->seal + exchange_align(EXCHANGE_SEAL * 2);
    exchange->holdings =
        exchange->shares + (groups == 1 ? 0 : exchange_align(SHARE_FLOATS * slots));
    exchange->total_floats =
        exchange->holdings +
        (config->optimizer.sharded ? exchange_align(HOLDING_FLOATS * slots) : 0);
}
