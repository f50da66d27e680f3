/* architecture.c - the blocks of a trunk, RegNetY or ResNet, from the few numbers of a config. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/architecture.h"

#include <stdio.h>

#include "common/regnet.h"
#include "common/resnet.h"

enum { POOL_STRIDE = 2 };

static const char *const stem_names[][2] = {
    [FAMILY_REGNETY] = {"trunk.stem.0", "trunk.stem.1"},
    [FAMILY_RESNET] = {"trunk.conv1", "trunk.bn1"},
};
static const char *const module_names[][MODULE_COUNT] = {
    [FAMILY_REGNETY] = {"proj.0", "proj.1", "f.a.0", "f.a.1", "f.b.0", "f.b.1", "f.se.fc1",
                        "f.se.fc2", "f.c.0", "f.c.1"},
    [FAMILY_RESNET] = {"downsample.0", "downsample.1", "conv1", "bn1", "conv2", "bn2", NULL, NULL,
                       "conv3", "bn3"},
};

enum status architecture_init(struct architecture *architecture, const struct config *config)
{
    if (config->model.family == FAMILY_RESNET)
        TRY(resnet_init(architecture, config));
    else
        TRY(regnet_init(architecture, config));
    for (int j = 0; j < architecture->block_count; j++) {
        struct architecture_block *block = &architecture->blocks[j];
        block->has_projection = block->stride != 1 || block->out_width != block->in_width;
    }
    return OK;
}

enum status architecture_check(const struct config *config)
{
    struct architecture architecture;
    return architecture_init(&architecture, config);
}

int architecture_width(const struct architecture *architecture)
{
    return architecture->blocks[architecture->block_count - 1].out_width;
}

int architecture_side_after(int side, int stride)
{
    return (side + stride - 1) / stride;
}

/* Weights of its convolutions at the input's and at the output's side, but for
 * squeeze-and-excitation's. */
struct block_weights {
    int64_t at_input, at_output;
};

static struct block_weights weights_of(const struct architecture_block *block)
{
    const int64_t in = block->in_width, inner = block->inner_width, out = block->out_width;
    return (struct block_weights){
        .at_input = in * inner,
        .at_output = inner * (inner / block->groups) * 9 + inner * out +
                     (block->has_projection ? in * out : 0),
    };
}

static int64_t block_parameter_count(const struct architecture_block *block)
{
    const struct block_weights weights = weights_of(block);
    const int64_t inner = block->inner_width, out = block->out_width;
    const int64_t squeeze = block->squeeze_width;
    int64_t count = weights.at_input + weights.at_output + 4 * inner + 2 * out;
    if (squeeze > 0)
        count += 2 * inner * squeeze + squeeze + inner;
    return block->has_projection ? count + 2 * out : count;
}

static int64_t stem_weights(const struct architecture *architecture)
{
    return (int64_t)architecture->stem_width * 3 * architecture->stem_kernel *
           architecture->stem_kernel;
}

int64_t architecture_parameter_count(const struct architecture *architecture)
{
    int64_t count = stem_weights(architecture) + 2 * (int64_t)architecture->stem_width;
    for (int j = 0; j < architecture->block_count; j++)
        count += block_parameter_count(&architecture->blocks[j]);
    return count;
}

double architecture_block_multiplications(const struct architecture_block *block, int side)
{
    const struct block_weights weights = weights_of(block);
    const int out_side = architecture_side_after(side, block->stride);
    return (double)side * side * (double)weights.at_input +
           (double)out_side * out_side * (double)weights.at_output +
           2.0 * block->inner_width * block->squeeze_width;
}

static int stem_side(const struct architecture *architecture, int size)
{
    return architecture_side_after(size, architecture->stem_stride);
}

int architecture_entry_side(const struct architecture *architecture, int size)
{
    const int side = stem_side(architecture, size);
    return architecture->has_stem_pool ? architecture_side_after(side, POOL_STRIDE) : side;
}

double architecture_multiplications(const struct architecture *architecture, int size)
{
    int side = stem_side(architecture, size);
    double count = (double)side * side * (double)stem_weights(architecture);
    side = architecture_entry_side(architecture, size);
    for (int j = 0; j < architecture->block_count; j++) {
        const struct architecture_block *block = &architecture->blocks[j];
        count += architecture_block_multiplications(block, side);
        side = architecture_side_after(side, block->stride);
    }
    return count;
}

void architecture_module_name(const struct architecture_block *block,
                              enum architecture_module module,
                              char ret_name[ARCHITECTURE_NAME_BYTES])
{
    const char *name = module_names[block->family][module];
    if (block->family == FAMILY_RESNET)
        snprintf(ret_name, ARCHITECTURE_NAME_BYTES, "trunk.layer%d.%d.%s", block->stage,
                 block->index, name);
    else
        snprintf(ret_name, ARCHITECTURE_NAME_BYTES, "trunk.trunk_output.block%d.block%d-%d.%s",
                 block->stage, block->stage, block->index, name);
}

const char *architecture_stem_name(enum family family, int is_norm)
{
    return stem_names[family][is_norm];
}
