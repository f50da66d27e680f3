/* model.h - trunk and head as one network: a batch in, embeddings and scores out, gradients back.
 *
 * Built for a share of slots: all memory is taken then, none in a step. The trunk runs on every
 * resolution, the head once on all rows. Convolution outputs of all resolutions are kept from
 * forward to backward. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_MODEL_H
#define WORKER_MODEL_MODEL_H

#include "loader/loader.h"
#include "worker/model/head.h"
#include "worker/model/trunk.h"

struct model {
    struct team team;
    struct trunk trunk;
    struct head head;
    uint64_t ahead; /* serial of the batch whose images came ahead; 0: none */
};

/* For slot_count slots of a step. arena_bytes: what it is known to take out of its arena, and what
 * else will be (memory_plan.h); 0: not known. ERR_DEVICE; ERR_INPUT. */
enum status model_create(const struct config *config, struct state *state, int slot_count,
                         size_t arena_bytes, struct model **ret_model);
void model_destroy(struct model *model); /* NULL is fine */
/* Images of the next batch travel while this step is computed, where the device can. */
void model_load_ahead(struct model *model, const struct batch *batch);
/* Images of the batch. ERR_INPUT: a batch of another shape. */
enum status model_load(struct model *model, struct collective *collective,
                       const struct batch *batch);
/* With the present parameters -> head's embeddings and scores. Errors of both ways are
 * collective_allreduce's: BN sums are exchanged. */
enum status model_forward(struct model *model);
/* From head.scores_grad. */
enum status model_backward(struct model *model, struct buckets *buckets);
/* Running statistics take in those of this step, resolution by resolution in the order of the
 * config, as torch does when the trunk runs once per resolution. */
void model_move_statistics(struct model *model, float momentum);

#endif
