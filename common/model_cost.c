/* model_cost.c - parameters of a model and what an image costs, from its config alone. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/model_cost.h"

#include "common/architecture.h"

/* Weights of the head's layers, without biases; with the rest of its parameters if is_all. */
static int64_t head_count(const struct config *config, int64_t in, int is_all)
{
    int64_t count = 0;
    for (int i = 0; i < config->model.head_count; i++) {
        const int64_t out = config->model.head[i];
        const int has_norm = config->model.head_batch_norm && i + 1 < config->model.head_count;
        count += in * out;
        count += is_all ? out + (has_norm ? 2 * out : 0) : 0;
        in = out;
    }
    return count;
}

static int is_recomputed(const struct config *config, int stage)
{
    for (int i = 0; i < config->train.recompute_stage_count; i++)
        if (config->train.recompute_stages[i] == stage)
            return 1;
    return config->train.recompute == RECOMPUTE_BLOCK;
}

/* Of the blocks that are recomputed, for one crop. */
static double recomputed(const struct config *config, const struct architecture *architecture,
                         int size)
{
    double count = 0;
    int side = architecture_entry_side(architecture, size);
    for (int j = 0; j < architecture->block_count; j++) {
        const struct architecture_block *block = &architecture->blocks[j];
        if (is_recomputed(config, block->stage))
            count += architecture_block_multiplications(block, side);
        side = architecture_side_after(side, block->stride);
    }
    return count;
}

enum status model_cost_make(const struct config *config, struct model_cost *ret_cost)
{
    struct architecture architecture;
    TRY(architecture_init(&architecture, config));
    const int64_t width = architecture_width(&architecture);
    const int64_t embedding = config->model.head[config->model.head_count - 1];
    const int64_t prototypes = embedding * config_prototypes(config);
    const double head = (double)(head_count(config, width, 0) + prototypes);
    double forward = 0, again = 0;
    for (int i = 0; i < config->crop_count; i++) {
        const double crops = (double)config->crops[i].count;
        const int size = (int)config->crops[i].size;
        forward += crops * (architecture_multiplications(&architecture, size) + head);
        again += crops * recomputed(config, &architecture, size);
    }
    *ret_cost = (struct model_cost){
        .trunk_parameters = architecture_parameter_count(&architecture),
        .head_parameters = head_count(config, width, 1),
        .prototype_parameters = prototypes,
        .forward_multiplications = forward,
        .train_operations = 2 * (3 * forward + again),
    };
    return OK;
}
