/* decoder.h - what one decode thread has and does: one image of a batch at a time. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_DECODER_H
#define LOADER_DECODER_H

#include <stdint.h>

#include "common/config.h"
#include "loader/batch_job.h"
#include "loader/image.h"
#include "loader/multicrop.h"
#include "loader/shard_client.h"
#include "loader/shard_table.h"

struct decoder {
    const struct config *config; /* borrowed, as all that has no other word */
    struct shard_table *shards;
    struct shard_client *client; /* NULL: there is no loader */
    int index;                   /* of the thread: which of a shard's readers is its own */
    struct image image;          /* owned */
    struct multicrop *multicrop; /* owned */
    struct image_wish wish;      /* what of the image its crops need; of multicrop */
};

/* The caller sets shards and client. */
void decoder_init(struct decoder *decoder, const struct config *config, uint64_t seed, int index);
void decoder_done(struct decoder *decoder);
/* Decodes image `index` of the job and cuts its crops into the batch. A record that cannot be
 * decoded is replaced by another of its slot, or, if the slot has no good one, by nothing
 * (RECORD_NONE). Waits for shards that are not there; is cut short when the job is dropped. */
void decoder_image(struct decoder *decoder, struct batch_job *job, uint32_t index);

#endif
