/* regnet.c - the widths of a RegNetY. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/regnet.h"

#include <inttypes.h>
#include <math.h>

enum { STEM_KERNEL = 3 };

/* Width of block j before it is made to fit the groups; equations 2 to 4. rint rounds half to even
 * in the default mode, which nobody of us changes. */
static double quantised_width(const struct config *config, int64_t j)
{
    const double w0 = (double)config->model.w0, wm = config->model.wm;
    const double u = w0 + config->model.wa * (double)j;
    const double power = rint(log(u / w0) / log(wm));
    return 8 * rint(w0 * pow(wm, power) / 8);
}

/* pycls: the nearest multiple of the group. */
static int fit_pycls(int width, int group)
{
    return (int)rint((double)width / group) * group;
}

/* torchvision (_make_divisible): the nearest multiple, ties up, but not below 0.9 of the width. */
static int fit_torchvision(int width, int group)
{
    int fitted = (int)(width + group / 2.0) / group * group;
    if (fitted < group)
        fitted = group;
    return fitted < 0.9 * width ? fitted + group : fitted;
}

static enum status check_numbers(const struct config *config)
{
    if (config->model.depth < 1 || config->model.depth > ARCHITECTURE_BLOCKS_MAX)
        return fail(ERR_INPUT, "model.depth is %" PRId64 ": use 1 to %d blocks",
                    config->model.depth, ARCHITECTURE_BLOCKS_MAX);
    if (config->model.w0 < 8 || config->model.w0 % 8 != 0)
        return fail(ERR_INPUT,
                    "model.w0 (%" PRId64 ") is not a multiple of 8: use %" PRId64 " or %" PRId64,
                    config->model.w0, config->model.w0 / 8 * 8, (config->model.w0 / 8 + 1) * 8);
    if (!(config->model.wm > 1))
        return fail(ERR_INPUT, "model.wm is %g: use a number above 1", config->model.wm);
    if (!(config->model.wa >= 0))
        return fail(ERR_INPUT, "model.wa is %g: use 0 or more", config->model.wa);
    if (config->model.group_width < 1)
        return fail(ERR_INPUT, "model.group_width is %" PRId64 ": use 1 or more",
                    config->model.group_width);
    if (config->model.stem_stride < 1 || config->model.stem_stride > 2)
        return fail(ERR_INPUT, "model.stem_stride is %" PRId64 ": use 1 or 2",
                    config->model.stem_stride);
    if (!(quantised_width(config, config->model.depth - 1) <= ARCHITECTURE_WIDTH_MAX))
        return fail(ERR_INPUT,
                    "model.depth, w0, wa and wm make a last stage of more than %d channels: lower "
                    "model.wa",
                    ARCHITECTURE_WIDTH_MAX);
    return OK;
}

static enum status fit_block(const struct config *config, int raw, struct architecture_block *block)
{
    const int group = config->model.group_width < raw ? (int)config->model.group_width : raw;
    const int width = config->model.rounding == ROUNDING_TORCHVISION ? fit_torchvision(raw, group)
                                                                     : fit_pycls(raw, group);
    if (width < group || width % group != 0)
        return fail(ERR_INPUT,
                    "model.group_width (%" PRId64
                    ") does not divide the %d channels of stage %d: use a divisor",
                    config->model.group_width, width, block->stage);
    block->inner_width = block->out_width = width;
    block->groups = width / group;
    block->squeeze_width = (int)rint(config->model.se_ratio * block->in_width);
    if (block->squeeze_width < 1)
        return fail(ERR_INPUT,
                    "model.se_ratio (%g) leaves no channel of the %d before stage %d: raise it",
                    config->model.se_ratio, block->in_width, block->stage);
    return OK;
}

enum status regnet_init(struct architecture *architecture, const struct config *config)
{
    TRY(check_numbers(config));
    *architecture = (struct architecture){
        .family = FAMILY_REGNETY,
        .stem_width = (int)config->model.stem_width,
        .stem_stride = (int)config->model.stem_stride,
        .stem_kernel = STEM_KERNEL,
        .block_count = (int)config->model.depth,
    };
    int in_width = architecture->stem_width, raw_before = 0, first = 0;
    for (int j = 0; j < architecture->block_count; j++) {
        struct architecture_block *block = &architecture->blocks[j];
        const int raw = (int)quantised_width(config, j);
        if (raw != raw_before) {
            architecture->stage_count++;
            first = j;
        }
        raw_before = raw;
        block->family = FAMILY_REGNETY;
        block->stage = architecture->stage_count;
        block->index = j - first;
        block->in_width = in_width;
        block->stride = j == first ? 2 : 1;
        TRY(fit_block(config, raw, block));
        in_width = block->out_width;
    }
    return OK;
}
