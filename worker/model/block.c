/* block.c - what a bottleneck block consists of. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/block_pass.h"

static enum status init_filters(struct block *block)
{
    const struct architecture_block *shape = &block->shape;
    char name[ARCHITECTURE_NAME_BYTES];
    const struct conv_shape a = {.in_channels = shape->in_width,
                                 .out_channels = shape->inner_width,
                                 .kernel = 1,
                                 .stride = 1,
                                 .groups = 1,
                                 .needs_input_gradient = 1};
    struct conv_shape b = a, c = a, proj = a;
    b.in_channels = c.in_channels = shape->inner_width;
    b.kernel = 3;
    b.groups = shape->groups;
    c.out_channels = proj.out_channels = shape->out_width;
    b.stride = proj.stride = shape->stride;

    architecture_module_name(shape, MODULE_A_CONV, name);
    TRY(filter_init(&block->filter_a, block->team, name, &a, block->in_side));
    architecture_module_name(shape, MODULE_B_CONV, name);
    TRY(filter_init(&block->filter_b, block->team, name, &b, block->in_side));
    architecture_module_name(shape, MODULE_C_CONV, name);
    TRY(filter_init(&block->filter_c, block->team, name, &c, block->out_side));
    architecture_module_name(shape, MODULE_PROJ_CONV, name);
    if (shape->has_projection)
        TRY(filter_init(&block->filter_proj, block->team, name, &proj, block->in_side));
    return OK;
}

static void init_norms(struct block *block)
{
    const struct architecture_block *shape = &block->shape;
    char name[ARCHITECTURE_NAME_BYTES];
    int in_pixels[CONFIG_CROPS_MAX];
    for (int r = 0; r < resolutions(block); r++)
        in_pixels[r] = block->in_side[r] * block->in_side[r];
    struct norm_place place = {.name = name, .channels = shape->inner_width, .pixels = in_pixels};
    architecture_module_name(shape, MODULE_A_NORM, name);
    norm_init(&block->norm_a, block->team, &place);
    place.pixels = block->out_pixels;
    architecture_module_name(shape, MODULE_B_NORM, name);
    norm_init(&block->norm_b, block->team, &place);
    place.channels = shape->out_width;
    place.message = 1; /* backward leaves a block while it is in a of the one behind */
    const size_t floats = norm_group_floats(block->team, place.channels);
    place.floats_behind = shape->has_projection ? floats : 0;
    architecture_module_name(shape, MODULE_C_NORM, name);
    norm_init(&block->norm_c, block->team, &place);
    place.floats_before = floats;
    place.floats_behind = 0;
    architecture_module_name(shape, MODULE_PROJ_NORM, name);
    if (shape->has_projection)
        norm_init(&block->norm_proj, block->team, &place);
}

static void init_squeeze(struct block *block)
{
    char reduce[ARCHITECTURE_NAME_BYTES], expand[ARCHITECTURE_NAME_BYTES];
    architecture_module_name(&block->shape, MODULE_SQUEEZE_REDUCE, reduce);
    architecture_module_name(&block->shape, MODULE_SQUEEZE_EXPAND, expand);
    squeeze_init(&block->squeeze, block->team,
                 &(struct squeeze_place){.reduce = reduce,
                                         .expand = expand,
                                         .channels = block->shape.inner_width,
                                         .hidden = block->shape.squeeze_width});
}

static void *taken(struct block *block, void *shared, size_t values)
{
    return shared != NULL ? shared : team_activations(block->team, values);
}

static void take_tensors(struct block *block, const struct block_place *place, int resolution)
{
    static const struct interior kept;
    const struct passing *passing = &place->passing[resolution];
    struct team *team = block->team;
    const struct interior *shared = block->interior == NULL ? &kept : block->interior;
    void *const *in_place = shared->at_input[resolution];
    void *const *out_place = shared->at_output[resolution];
    const size_t rows = (size_t)rows_count(&team->rows, resolution);
    const size_t in_pixels =
        (size_t)block->in_side[resolution] * (size_t)block->in_side[resolution];
    const size_t out_pixels = (size_t)block->out_pixels[resolution];
    const size_t in = rows * in_pixels * (size_t)block->shape.inner_width;
    const size_t inner = rows * out_pixels * (size_t)block->shape.inner_width;
    const size_t out = rows * out_pixels * (size_t)block->shape.out_width;
    const enum arena_part before = arena_enter(&team->arena, ARENA_ACTIVATIONS);
    block->tensors[resolution] = (struct block_tensors){
        .x = place->x[resolution],
        .a_conv = taken(block, in_place[0], in),
        .a = passing->a != NULL ? passing->a : taken(block, in_place[1], in),
        .b_conv = taken(block, out_place[0], inner),
        .b_scaled =
            passing->b_scaled != NULL ? passing->b_scaled : taken(block, out_place[1], inner),
        .c_conv = taken(block, out_place[2], out),
        .proj_conv = block->shape.has_projection ? taken(block, out_place[3], out) : NULL,
        .y = team_activations(team, out),
    };
    arena_enter(&team->arena, before);
}

static void reuse_tensors(struct block *block, void *const *reuse)
{
    block->tensors[0] = (struct block_tensors){
        .x = reuse[0],
        .a_conv = reuse[1],
        .a = reuse[1],
        .b_conv = reuse[2],
        .b_scaled = reuse[2],
        .c_conv = reuse[1],
        .proj_conv = reuse[3],
        .y = reuse[1],
    };
}

enum status block_init(struct block *block, struct team *team,
                       const struct architecture_block *shape, const struct block_place *place)
{
    *block = (struct block){.team = team, .interior = place->interior, .shape = *shape};
    block->is_passing = place->reuse == NULL && place->passing[0].a != NULL;
    for (int r = 0; r < resolutions(block); r++) {
        block->in_side[r] = place->side[r];
        block->out_side[r] = architecture_side_after(place->side[r], shape->stride);
        block->out_pixels[r] = block->out_side[r] * block->out_side[r];
        if (place->reuse == NULL)
            take_tensors(block, place, r);
    }
    if (place->reuse != NULL)
        reuse_tensors(block, place->reuse);
    if (has_squeeze(block))
        init_squeeze(block);
    init_norms(block);
    return init_filters(block);
}

void block_done(struct block *block)
{
    filter_done(&block->filter_a);
    filter_done(&block->filter_b);
    filter_done(&block->filter_c);
    filter_done(&block->filter_proj);
}

void block_load_weights(struct block *block)
{
    filter_load_weights(&block->filter_a);
    filter_load_weights(&block->filter_b);
    filter_load_weights(&block->filter_c);
    if (block->shape.has_projection)
        filter_load_weights(&block->filter_proj);
    if (block->team->is_training)
        return;
    norm_use_running(&block->norm_a);
    norm_use_running(&block->norm_b);
    norm_use_running(&block->norm_c);
    if (block->shape.has_projection)
        norm_use_running(&block->norm_proj);
}

const float *block_first_gradient(const struct block *block)
{
    return block->shape.has_projection ? block->filter_proj.weight.grad
                                       : block->filter_a.weight.grad;
}
