/* resnet.c - the widths of a ResNet or ResNeXt with bottleneck blocks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/resnet.h"

#include <inttypes.h>

/* A bottleneck block puts out four times its planes. BASE: planes at which group_width is meant. */
enum { EXPANSION = 4, BASE = 64, STEM_KERNEL = 7 };

static enum status check_numbers(const struct config *config)
{
    int64_t blocks = 0;
    if (config->model.stage_count == 0)
        return fail(ERR_INPUT, "model.family is 'resnet', but model.stage_blocks is empty: list "
                               "the blocks of each stage, as [3, 4, 6, 3] for a ResNet-50");
    for (int i = 0; i < config->model.stage_count; i++)
        blocks += config->model.stage_blocks[i];
    if (blocks > ARCHITECTURE_BLOCKS_MAX)
        return fail(ERR_INPUT, "model.stage_blocks are %" PRId64 " in all: use at most %d", blocks,
                    ARCHITECTURE_BLOCKS_MAX);
    const int64_t planes = config->model.stem_width << (config->model.stage_count - 1);
    if (planes * EXPANSION > ARCHITECTURE_WIDTH_MAX ||
        planes * config->model.group_width / BASE * config->model.groups > ARCHITECTURE_WIDTH_MAX)
        return fail(ERR_INPUT,
                    "model.stem_width, groups and group_width make a last stage of more than %d "
                    "channels: lower them",
                    ARCHITECTURE_WIDTH_MAX);
    if (config->model.stem_width * config->model.group_width / BASE < 1)
        return fail(ERR_INPUT,
                    "model.group_width (%" PRId64 ") leaves no channel in a group of the first "
                    "stage: use 64 for a ResNet, 4 and more for a ResNeXt",
                    config->model.group_width);
    return OK;
}

static void add_stage(struct architecture *architecture, const struct config *config, int stage,
                      int *in_width)
{
    const int planes = (int)config->model.stem_width << (stage - 1);
    const int group = planes * (int)config->model.group_width / BASE;
    for (int i = 0; i < config->model.stage_blocks[stage - 1]; i++) {
        struct architecture_block *block = &architecture->blocks[architecture->block_count++];
        *block = (struct architecture_block){
            .family = FAMILY_RESNET,
            .stage = stage,
            .index = i,
            .in_width = *in_width,
            .inner_width = group * (int)config->model.groups,
            .out_width = EXPANSION * planes,
            .stride = i == 0 && stage > 1 ? 2 : 1,
            .groups = (int)config->model.groups,
        };
        *in_width = block->out_width;
    }
}

enum status resnet_init(struct architecture *architecture, const struct config *config)
{
    TRY(check_numbers(config));
    *architecture = (struct architecture){
        .family = FAMILY_RESNET,
        .stem_width = (int)config->model.stem_width,
        .stem_stride = (int)config->model.stem_stride,
        .stem_kernel = STEM_KERNEL,
        .has_stem_pool = 1,
        .stage_count = (int)config->model.stage_count,
    };
    int in_width = architecture->stem_width;
    for (int stage = 1; stage <= architecture->stage_count; stage++)
        add_stage(architecture, config, stage, &in_width);
    return OK;
}
