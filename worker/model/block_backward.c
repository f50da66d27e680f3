/* block_backward.c - a bottleneck block backward, all resolutions in lock-step. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/block_pass.h"

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

/* Up to the sums of c's and the shortcut's BN, where the gradient may be in the making. */
static void leave(struct block *block, struct piece piece, const struct gradient *gradient)
{
    const struct bn_backward c = into_c(block, piece.resolution, gradient);
    norm_backward_sums(&block->norm_c, piece, &c);
    const struct bn_backward proj = into_proj(block, piece.resolution, gradient);
    if (block->shape.has_projection)
        norm_backward_sums(&block->norm_proj, piece, &proj);
}

static void left(struct block *block, struct piece piece)
{
    norm_backward_summed(&block->norm_c, piece);
    if (block->shape.has_projection)
        norm_backward_summed(&block->norm_proj, piece);
}

void block_leave(struct block *block, const struct gradient *gradient)
{
    block_hold(block, 1);
    for (struct piece p = {0}; has(block, p); p = after(block, p)) {
        block_rows_begin(block, p, NULL, NULL);
        leave(block, p, &gradient[p.resolution]);
        block_rows_end(block);
        left(block, p);
    }
}

/* Through c's BN and convolution to the gradient of b * scale. */
static void backward_c(struct block *block, struct piece piece, const struct gradient *gradient)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    const struct bn_backward c = into_c(block, piece.resolution, gradient);
    void *dc = gradient->buffers[1], *branch = gradient->buffers[2];
    const struct bn_backward scale = {.dy = branch, .x = t->b_conv};
    block_rows_begin(block, piece, at(block, dc, block->filter_c.out_values, piece),
                     at(block, t->b_scaled, block->filter_c.in_values, piece));
    if (block->is_passing)
        block_scale_b(block, piece);
    norm_backward_apply(&block->norm_c, piece, &c, dc);
    filter_backward_weights(&block->filter_c, piece, t->b_scaled, dc);
    filter_backward_data(&block->filter_c, piece, dc, branch);
    if (has_squeeze(block))
        norm_row_scale_backward(&block->norm_b, piece, &scale,
                                rows_part(block, block->squeeze.scale_grad, piece.resolution));
    block_rows_end(block);
    filter_gradient_written(&block->filter_c, piece);
}

/* Through the shortcut's BN and convolution, when dc's place is free again. */
static void backward_proj(struct block *block, struct piece piece, const struct gradient *gradient)
{
    const struct bn_backward proj = into_proj(block, piece.resolution, gradient);
    void *dz = gradient->buffers[0], *skip = gradient->buffers[1];
    block_rows_begin(block, piece, NULL, NULL);
    norm_backward_apply(&block->norm_proj, piece, &proj, dz);
    filter_backward_weights(&block->filter_proj, piece, block->tensors[piece.resolution].x, dz);
    filter_backward_data(&block->filter_proj, piece, dz, skip);
    block_rows_end(block);
    filter_gradient_written(&block->filter_proj, piece);
}

static struct roles roles_of(const struct block *block, const struct gradient *gradient)
{
    void *const *buffers = gradient->buffers;
    if (block->shape.has_projection)
        return (struct roles){.branch = buffers[2], .skip = buffers[1], .other = buffers[0]};
    return (struct roles){.branch = buffers[2], .skip = buffers[0], .other = buffers[1]};
}

static void sums_b(struct block *block, struct piece piece, const struct roles *roles)
{
    const struct bn_backward b = into_b(block, piece.resolution, roles);
    norm_backward_sums(&block->norm_b, piece, &b);
    norm_backward_summed(&block->norm_b, piece);
}

/* Through b's BN and convolution, up to the sums of a's BN. */
static void backward_b(struct block *block, struct piece piece, const struct roles *roles)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    const struct bn_backward b = into_b(block, piece.resolution, roles);
    const struct bn_backward a = into_a(block, piece.resolution, roles);
    void *db = block->is_passing ? t->b_scaled : roles->branch;
    block_rows_begin(block, piece, at(block, t->a, block->filter_b.in_values, piece),
                     at(block, db, block->filter_b.out_values, piece));
    if (block->is_passing)
        block_activate_a(block, piece);
    norm_backward_apply(&block->norm_b, piece, &b, db);
    filter_backward_weights(&block->filter_b, piece, t->a, db);
    filter_backward_data(&block->filter_b, piece, db, roles->other);
    norm_backward_sums(&block->norm_a, piece, &a);
    block_rows_end(block);
    filter_gradient_written(&block->filter_b, piece);
    norm_backward_summed(&block->norm_a, piece);
}

/* What goes to the block before: its output's gradient. */
static struct gradient before(const struct roles *roles)
{
    return (struct gradient){
        .dy = roles->branch,
        .dy2 = roles->skip,
        .buffers = {roles->branch, roles->skip, roles->other},
    };
}

/* Through a's BN and convolution, and out of the previous block at once, if there is one whose
 * tensors are there. */
static void backward_a(struct block *block, struct block *previous, struct piece piece,
                       const struct roles *roles)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    const struct bn_backward a = into_a(block, piece.resolution, roles);
    const struct gradient gradient = before(roles);
    void *da = block->is_passing ? t->a : roles->other;
    block_rows_begin(block, piece, at(block, da, block->filter_a.out_values, piece), NULL);
    norm_backward_apply(&block->norm_a, piece, &a, da);
    filter_backward_weights(&block->filter_a, piece, t->x, da);
    filter_backward_data(&block->filter_a, piece, da, roles->branch);
    if (previous != NULL)
        leave(previous, piece, &gradient);
    block_rows_end(block);
    filter_gradient_written(&block->filter_a, piece);
    if (previous != NULL)
        left(previous, piece);
}

enum status block_backward(struct block *block, struct block *previous, struct gradient *gradient)
{
    const int is_there = previous != NULL && previous->interior == NULL;
    struct roles roles[CONFIG_CROPS_MAX];
    TRY(norm_backward_share(&block->norm_c, proj_norm(block)));
    for (struct piece p = {0}; has(block, p); p = after(block, p))
        backward_c(block, p, &gradient[p.resolution]);
    for (struct piece p = {0}; has(block, p) && block->shape.has_projection; p = after(block, p))
        backward_proj(block, p, &gradient[p.resolution]);
    if (has_squeeze(block))
        squeeze_backward(&block->squeeze, block->out_pixels);
    for (int r = 0; r < resolutions(block); r++)
        roles[r] = roles_of(block, &gradient[r]);
    for (struct piece p = {0}; has(block, p); p = after(block, p))
        sums_b(block, p, &roles[p.resolution]);
    TRY(norm_backward_share(&block->norm_b, NULL));
    for (struct piece p = {0}; has(block, p); p = after(block, p))
        backward_b(block, p, &roles[p.resolution]);
    TRY(norm_backward_share(&block->norm_a, NULL));
    for (struct piece p = {0}; has(block, p); p = after(block, p))
        backward_a(block, is_there ? previous : NULL, p, &roles[p.resolution]);
    for (int r = 0; r < resolutions(block); r++)
        gradient[r] = before(&roles[r]);
    if (previous != NULL && !is_there)
        block_leave(previous, gradient);
    return OK;
}
