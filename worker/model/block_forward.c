/* block_forward.c - a bottleneck block forward, all resolutions in lock-step. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/block_pass.h"

/* A convolution and, in training, the sums of what comes out. */
static void convolve(const struct block *block, const struct filter *filter, struct norm *norm,
                     struct piece piece, const void *x, void *y)
{
    filter_forward(filter, piece, x, y);
    if (block->team->is_training)
        norm_sums(norm, piece, y);
}

static void summed(const struct block *block, struct norm *norm, struct piece piece)
{
    if (block->team->is_training)
        norm_summed(norm, piece);
}

void block_rows_begin(const struct block *block, struct piece piece, const void *first,
                      const void *second)
{
    const struct team *team = block->team;
    const void *const passing[ROWS_PASSING_MAX] = {first, second};
    team->ops->rows_begin(team->device, rows_of_part(&team->rows, piece.resolution),
                          block->is_passing ? passing : NULL);
}

void block_rows_end(const struct block *block)
{
    block->team->ops->rows_end(block->team->device);
}

static enum status share(const struct block *block, struct norm *norm, struct norm *second)
{
    return block->team->is_training ? norm_share(norm, second) : OK;
}

void block_activate_a(struct block *block, struct piece piece)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    const struct bn_apply a = {.x = t->a_conv, .is_relu = 1, .y = t->a};
    norm_apply(&block->norm_a, piece, &a, NULL);
}

/* What the squeeze looks at: the means of b, without storing b. */
static void pool_b(struct block *block, struct piece piece)
{
    const struct bn_apply b = {
        .x = block->tensors[piece.resolution].b_conv,
        .is_relu = 1,
        .pooled = rows_part(block, block->squeeze.pooled, piece.resolution),
    };
    norm_apply(&block->norm_b, piece, &b, NULL);
}

void block_scale_b(struct block *block, struct piece piece)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    const struct bn_apply b = {
        .x = t->b_conv,
        .is_relu = 1,
        .row_scale = rows_part(block, block->squeeze.scale, piece.resolution),
        .y = t->b_scaled,
    };
    norm_apply(&block->norm_b, piece, &b, NULL);
}

static void add_shortcut(struct block *block, struct piece piece, float *pooled)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    const size_t first = (size_t)rows_first(&block->team->rows, piece.resolution);
    const struct bn_apply args = {
        .x = t->c_conv,
        .skip = block->shape.has_projection ? t->proj_conv : t->x,
        .is_relu = 1,
        .y = t->y,
        .pooled = pooled == NULL ? NULL : pooled + first * (size_t)block->shape.out_width,
    };
    norm_apply(&block->norm_c, piece, &args, proj_norm(block));
}

/* What forward computed between x and y, once more. Squeeze-and-excitation's vectors are kept. */
static void recompute(struct block *block, struct piece piece)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    block_rows_begin(block, piece, at(block, t->a, block->filter_b.in_values, piece),
                     at(block, t->b_scaled, block->filter_c.in_values, piece));
    filter_forward(&block->filter_a, piece, t->x, t->a_conv);
    block_activate_a(block, piece);
    filter_forward(&block->filter_b, piece, t->a, t->b_conv);
    block_scale_b(block, piece);
    filter_forward(&block->filter_c, piece, t->b_scaled, t->c_conv);
    block_rows_end(block);
    if (block->shape.has_projection)
        filter_forward(&block->filter_proj, piece, t->x, t->proj_conv);
}

void block_hold(struct block *block, int is_to_recompute)
{
    if (block->interior == NULL || block->interior->holder == block)
        return;
    for (struct piece p = {0}; has(block, p) && is_to_recompute; p = after(block, p))
        recompute(block, p);
    block->interior->holder = block;
}

/* x to a_conv, where x may be in the making. */
static void enter(struct block *block, struct piece piece)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    convolve(block, &block->filter_a, &block->norm_a, piece, t->x, t->a_conv);
}

void block_enter(struct block *block)
{
    block_hold(block, 0);
    for (struct piece p = {0}; has(block, p); p = after(block, p)) {
        block_rows_begin(block, p, NULL, NULL);
        enter(block, p);
        block_rows_end(block);
        summed(block, &block->norm_a, p);
    }
}

/* Through a to b_conv. */
static void forward_b(struct block *block, struct piece piece)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    block_rows_begin(block, piece, at(block, t->a, block->filter_b.in_values, piece), NULL);
    block_activate_a(block, piece);
    convolve(block, &block->filter_b, &block->norm_b, piece, t->a, t->b_conv);
    block_rows_end(block);
    summed(block, &block->norm_b, piece);
}

/* Through b to c_conv, and x through the shortcut's convolution. */
static void forward_c(struct block *block, struct piece piece)
{
    const struct block_tensors *t = &block->tensors[piece.resolution];
    block_rows_begin(block, piece, at(block, t->b_scaled, block->filter_c.in_values, piece), NULL);
    block_scale_b(block, piece);
    convolve(block, &block->filter_c, &block->norm_c, piece, t->b_scaled, t->c_conv);
    block_rows_end(block);
    summed(block, &block->norm_c, piece);
    if (!block->shape.has_projection)
        return;
    block_rows_begin(block, piece, NULL, NULL);
    convolve(block, &block->filter_proj, &block->norm_proj, piece, t->x, t->proj_conv);
    block_rows_end(block);
    summed(block, &block->norm_proj, piece);
}

/* To y, and in training into the next block at once; inference's buffers overlap there. */
static void forward_y(struct block *block, struct block *next, struct piece piece, float *pooled)
{
    const int is_entered = next != NULL && block->team->is_training;
    block_rows_begin(block, piece, NULL, NULL);
    add_shortcut(block, piece, pooled);
    if (is_entered)
        enter(next, piece);
    block_rows_end(block);
    if (is_entered)
        summed(next, &next->norm_a, piece);
}

enum status block_forward(struct block *block, struct block *next, float *pooled)
{
    TRY(share(block, &block->norm_a, NULL));
    for (struct piece p = {0}; has(block, p); p = after(block, p))
        forward_b(block, p);
    TRY(share(block, &block->norm_b, NULL));
    for (struct piece p = {0}; has(block, p) && has_squeeze(block); p = after(block, p))
        pool_b(block, p);
    if (has_squeeze(block))
        squeeze_forward(&block->squeeze);
    for (struct piece p = {0}; has(block, p); p = after(block, p))
        forward_c(block, p);
    TRY(share(block, &block->norm_c, proj_norm(block)));
    if (next != NULL)
        block_hold(next, 0);
    for (struct piece p = {0}; has(block, p); p = after(block, p))
        forward_y(block, next, p, pooled);
    if (next != NULL && !block->team->is_training)
        block_enter(next);
    return OK;
}
