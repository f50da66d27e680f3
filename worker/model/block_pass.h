/* block_pass.h - what the files of a block share. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_BLOCK_PASS_H
#define WORKER_MODEL_BLOCK_PASS_H

#include "worker/model/block.h"

static inline int resolutions(const struct block *block)
{
    return block->team->rows.resolution_count;
}

static inline int has_squeeze(const struct block *block)
{
    return block->shape.squeeze_width > 0;
}

static inline struct norm *proj_norm(struct block *block)
{
    return block->shape.has_projection ? &block->norm_proj : NULL;
}

static inline struct piece after(const struct block *block, struct piece piece)
{
    return rows_after(&block->team->rows, piece);
}

static inline int has(const struct block *block, struct piece piece)
{
    return rows_has(&block->team->rows, piece);
}

/* Where a piece begins in a tensor of so many values a part, by resolution. */
static inline void *at(const struct block *block, const void *tensor, const size_t *values,
                       struct piece piece)
{
    return team_offset(block->team, tensor, (size_t)piece.part * values[piece.resolution]);
}

/* A resolution's part of one of the squeeze's arrays; NULL: there is no squeeze. */
static inline float *rows_part(const struct block *block, float *array, int resolution)
{
    return has_squeeze(block) ? squeeze_part(&block->squeeze, array, resolution) : NULL;
}

/* What follows up to block_rows_end is by rows of a piece. first, second: tensors that only pass,
 * if the block lets any; NULL: none. */
void block_rows_begin(const struct block *block, struct piece piece, const void *first,
                      const void *second);
void block_rows_end(const struct block *block);
/* a_conv to a, and b_conv to b * squeeze(b). */
void block_activate_a(struct block *block, struct piece piece);
void block_scale_b(struct block *block, struct piece piece);
/* Afterwards the tensors between x and y are this block's. */
void block_hold(struct block *block, int is_to_recompute);

#endif
