/* block.c - one bottleneck block, all resolutions in lock-step. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/block.h"

static int resolutions(const struct block *block)
{
    return block->team->rows.resolution_count;
}

static int has_squeeze(const struct block *block)
{
    return block->shape.squeeze_width > 0;
}

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

static void take_tensors(struct block *block, int resolution, const void *x)
{
    static const struct interior kept;
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
        .x = x,
        .a_conv = taken(block, in_place[0], in),
        .a = taken(block, in_place[1], in),
        .b_conv = taken(block, out_place[0], inner),
        .b_scaled = taken(block, out_place[1], inner),
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
    for (int r = 0; r < resolutions(block); r++) {
        block->in_side[r] = place->side[r];
        block->out_side[r] = architecture_side_after(place->side[r], shape->stride);
        block->out_pixels[r] = block->out_side[r] * block->out_side[r];
        if (place->reuse == NULL)
            take_tensors(block, r, place->x[r]);
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

static struct norm *proj_norm(struct block *block)
{
    return block->shape.has_projection ? &block->norm_proj : NULL;
}

/* A convolution and, in training, the sums of what comes out. */
static void convolve(const struct block *block, const struct filter *filter, struct norm *norm,
                     int resolution, const void *x, void *y)
{
    filter_forward(filter, resolution, x, y);
    if (block->team->is_training)
        norm_sums(norm, resolution, y);
}

static enum status share(const struct block *block, struct norm *norm, struct norm *second)
{
    return block->team->is_training ? norm_share(norm, second) : OK;
}

/* A resolution's part of one of the squeeze's arrays; NULL: there is no squeeze. */
static float *rows_part(const struct block *block, float *array, int resolution)
{
    return has_squeeze(block) ? squeeze_part(&block->squeeze, array, resolution) : NULL;
}

/* What the squeeze looks at: the means of b, without storing b. */
static void pool_b(struct block *block, int resolution)
{
    const struct bn_apply b = {
        .x = block->tensors[resolution].b_conv,
        .is_relu = 1,
        .pooled = rows_part(block, block->squeeze.pooled, resolution),
    };
    norm_apply(&block->norm_b, resolution, &b, NULL);
}

static void scale_b(struct block *block, int resolution)
{
    const struct block_tensors *t = &block->tensors[resolution];
    const struct bn_apply b = {
        .x = t->b_conv,
        .is_relu = 1,
        .row_scale = rows_part(block, block->squeeze.scale, resolution),
        .y = t->b_scaled,
    };
    norm_apply(&block->norm_b, resolution, &b, NULL);
}

static void add_shortcut(struct block *block, int resolution, float *pooled)
{
    const struct block_tensors *t = &block->tensors[resolution];
    const size_t first = (size_t)rows_first(&block->team->rows, resolution);
    const struct bn_apply args = {
        .x = t->c_conv,
        .skip = block->shape.has_projection ? t->proj_conv : t->x,
        .is_relu = 1,
        .y = t->y,
        .pooled = pooled == NULL ? NULL : pooled + first * (size_t)block->shape.out_width,
    };
    norm_apply(&block->norm_c, resolution, &args, proj_norm(block));
}

/* What forward computed between x and y, once more. Squeeze-and-excitation's vectors are kept. */
static void recompute(struct block *block, int resolution)
{
    const struct block_tensors *t = &block->tensors[resolution];
    const struct bn_apply a = {.x = t->a_conv, .is_relu = 1, .y = t->a};
    filter_forward(&block->filter_a, resolution, t->x, t->a_conv);
    norm_apply(&block->norm_a, resolution, &a, NULL);
    filter_forward(&block->filter_b, resolution, t->a, t->b_conv);
    scale_b(block, resolution);
    filter_forward(&block->filter_c, resolution, t->b_scaled, t->c_conv);
    if (block->shape.has_projection)
        filter_forward(&block->filter_proj, resolution, t->x, t->proj_conv);
}

/* Afterwards the tensors between x and y are this block's. */
static void hold(struct block *block, int is_to_recompute)
{
    if (block->interior == NULL || block->interior->holder == block)
        return;
    for (int r = 0; r < resolutions(block) && is_to_recompute; r++)
        recompute(block, r);
    block->interior->holder = block;
}

enum status block_forward(struct block *block, float *pooled)
{
    struct block_tensors *t = block->tensors;
    hold(block, 0);
    for (int r = 0; r < resolutions(block); r++)
        convolve(block, &block->filter_a, &block->norm_a, r, t[r].x, t[r].a_conv);
    TRY(share(block, &block->norm_a, NULL));

    for (int r = 0; r < resolutions(block); r++) {
        const struct bn_apply a = {.x = t[r].a_conv, .is_relu = 1, .y = t[r].a};
        norm_apply(&block->norm_a, r, &a, NULL);
        convolve(block, &block->filter_b, &block->norm_b, r, t[r].a, t[r].b_conv);
    }
    TRY(share(block, &block->norm_b, NULL));

    for (int r = 0; r < resolutions(block) && has_squeeze(block); r++)
        pool_b(block, r);
    if (has_squeeze(block))
        squeeze_forward(&block->squeeze);

    for (int r = 0; r < resolutions(block); r++) {
        scale_b(block, r);
        convolve(block, &block->filter_c, &block->norm_c, r, t[r].b_scaled, t[r].c_conv);
        if (block->shape.has_projection)
            convolve(block, &block->filter_proj, &block->norm_proj, r, t[r].x, t[r].proj_conv);
    }
    TRY(share(block, &block->norm_c, proj_norm(block)));
    for (int r = 0; r < resolutions(block); r++)
        add_shortcut(block, r, pooled);
    return OK;
}

/* The three buffers of a resolution by what they hold inside block_backward. */
struct roles {
    void *branch; /* the gradient on its way through c, the scale and b */
    void *skip;   /* what the shortcut adds to x's gradient */
    void *other;  /* free, then a's gradient */
};

/* Through the ReLU of y; what comes out is the shortcut's gradient too and therefore stored. */
static struct bn_backward into_c(const struct block *block, int resolution,
                                 const struct gradient *gradient)
{
    const struct block_tensors *t = &block->tensors[resolution];
    return (struct bn_backward){
        .dy = gradient->dy,
        .dy2 = gradient->dy2,
        .row_add = gradient->row_add,
        .is_relu = 1,
        .y = t->y,
        .x = t->c_conv,
        .dz = gradient->buffers[0],
    };
}

static struct bn_backward into_proj(const struct block *block, int resolution,
                                    const struct gradient *gradient)
{
    const struct block_tensors *t = &block->tensors[resolution];
    return (struct bn_backward){.dy = gradient->buffers[0], .x = t->proj_conv};
}

/* Through the scale, the pooling and the ReLU of b. */
static struct bn_backward into_b(const struct block *block, int resolution,
                                 const struct roles *roles)
{
    return (struct bn_backward){
        .dy = roles->branch,
        .row_scale = rows_part(block, block->squeeze.scale, resolution),
        .row_add = rows_part(block, block->squeeze.pixel_grad, resolution),
        .is_relu = 1,
        .x = block->tensors[resolution].b_conv,
    };
}

static struct bn_backward into_a(const struct block *block, int resolution,
                                 const struct roles *roles)
{
    return (struct bn_backward){
        .dy = roles->other,
        .is_relu = 1,
        .x = block->tensors[resolution].a_conv,
    };
}

/* Up to the sums of c's and the shortcut's BN. */
static void backward_sums_c(struct block *block, int resolution, const struct gradient *gradient)
{
    const struct bn_backward c = into_c(block, resolution, gradient);
    norm_backward_sums(&block->norm_c, resolution, &c);
    const struct bn_backward proj = into_proj(block, resolution, gradient);
    if (block->shape.has_projection)
        norm_backward_sums(&block->norm_proj, resolution, &proj);
}

/* Through c's and the shortcut's BN and convolutions to the gradient of b * scale. */
static struct roles backward_c(struct block *block, int resolution, const struct gradient *gradient)
{
    const struct block_tensors *t = &block->tensors[resolution];
    const struct bn_backward c = into_c(block, resolution, gradient);
    void *dz = gradient->buffers[0], *dc = gradient->buffers[1], *spare = gradient->buffers[2];
    struct roles roles = {.branch = spare, .skip = dz, .other = dc};
    norm_backward_apply(&block->norm_c, resolution, &c, dc);
    if (block->shape.has_projection) {
        const struct bn_backward proj = into_proj(block, resolution, gradient);
        norm_backward_apply(&block->norm_proj, resolution, &proj, dz);
        filter_backward_weights(&block->filter_proj, resolution, t->x, dz);
        filter_backward_data(&block->filter_proj, resolution, dz, spare);
        roles = (struct roles){.branch = dz, .skip = spare, .other = dc};
    }
    filter_backward_weights(&block->filter_c, resolution, t->b_scaled, dc);
    filter_backward_data(&block->filter_c, resolution, dc, roles.branch);
    const struct bn_backward scale = {.dy = roles.branch, .x = t->b_conv};
    if (has_squeeze(block))
        norm_row_scale_backward(&block->norm_b, resolution, &scale,
                                rows_part(block, block->squeeze.scale_grad, resolution));
    return roles;
}

/* Through b's BN and convolution, up to the sums of a's BN. */
static void backward_b(struct block *block, int resolution, const struct roles *roles)
{
    const struct bn_backward b = into_b(block, resolution, roles);
    norm_backward_apply(&block->norm_b, resolution, &b, roles->branch);
    filter_backward_weights(&block->filter_b, resolution, block->tensors[resolution].a,
                            roles->branch);
    filter_backward_data(&block->filter_b, resolution, roles->branch, roles->other);
    const struct bn_backward a = into_a(block, resolution, roles);
    norm_backward_sums(&block->norm_a, resolution, &a);
}

static void backward_a(struct block *block, int resolution, const struct roles *roles,
                       struct gradient *gradient)
{
    const struct bn_backward a = into_a(block, resolution, roles);
    norm_backward_apply(&block->norm_a, resolution, &a, roles->other);
    filter_backward_weights(&block->filter_a, resolution, block->tensors[resolution].x,
                            roles->other);
    filter_backward_data(&block->filter_a, resolution, roles->other, roles->branch);
    *gradient = (struct gradient){
        .dy = roles->branch,
        .dy2 = roles->skip,
        .buffers = {roles->branch, roles->skip, roles->other},
    };
}

enum status block_backward(struct block *block, struct gradient *gradient)
{
    struct roles roles[CONFIG_CROPS_MAX];
    hold(block, 1);
    for (int r = 0; r < resolutions(block); r++)
        backward_sums_c(block, r, &gradient[r]);
    TRY(norm_backward_share(&block->norm_c, proj_norm(block)));
    for (int r = 0; r < resolutions(block); r++)
        roles[r] = backward_c(block, r, &gradient[r]);
    if (has_squeeze(block))
        squeeze_backward(&block->squeeze, block->out_pixels);
    for (int r = 0; r < resolutions(block); r++) {
        const struct bn_backward b = into_b(block, r, &roles[r]);
        norm_backward_sums(&block->norm_b, r, &b);
    }
    TRY(norm_backward_share(&block->norm_b, NULL));
    for (int r = 0; r < resolutions(block); r++)
        backward_b(block, r, &roles[r]);
    TRY(norm_backward_share(&block->norm_a, NULL));
    for (int r = 0; r < resolutions(block); r++)
        backward_a(block, r, &roles[r], &gradient[r]);
    return OK;
}

const float *block_first_gradient(const struct block *block)
{
    return block->shape.has_projection ? block->filter_proj.weight.grad
                                       : block->filter_a.weight.grad;
}
