/* batch_job.h - one submitted plan on its way to a batch: what to decode, where the crops go, how
 * far it is.
 *
 * An image of a job is known by its index, 0 .. slot_count * slot_images - 1, in plan order. The
 * loader's lock guards the progress; all else is written by the owner before the first image is
 * claimed, or by the one thread that claimed an image, in that image's own places. A job keeps its
 * memory when it is planned again. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_BATCH_JOB_H
#define LOADER_BATCH_JOB_H

#include <stdatomic.h>
#include <stdint.h>

#include "loader/loader.h"
#include "loader/multicrop.h"

struct fetch;      /* shard_client.h */
struct open_shard; /* shard_table.h */

/* What is known of one image of a job. */
struct batch_job_image {
    struct record_ref record;
    struct open_shard *shard; /* borrowed; of record.shard; NULL: it is not known */
    struct fetch *fetch;      /* owned; of the record, if it comes from a loader; NULL: not asked */
    uint64_t position;
    char bad_reason[96]; /* why its own record was not used; "" if it was */
    /* What its pixels are of; RECORD_NONE: no record of its slot could be decoded. */
    struct record_ref trained;
};

struct batch_job {
    struct batch batch;     /* first: loader_give finds the job by its batch */
    struct batch_job *next; /* of the list it is in */
    uint32_t image_count;
    struct batch_job_image *images; /* [image_count] */
    uint32_t slot_capacity;         /* slots there is memory for */

    /* Progress: claimed <= wanted <= image_count, done <= claimed. A job that is dropped wants no
     * more than was claimed; it is over when done == wanted. */
    uint32_t wanted, claimed, done;
    atomic_int is_dropped; /* read without the lock by who waits for a shard */
};

struct batch_job *batch_job_create(void);
void batch_job_destroy(struct batch_job *job); /* NULL is fine */
/* Copies the plan, all but the shards, and makes room for its crops. */
void batch_job_plan(struct batch_job *job, const struct config *config,
                    const struct batch_plan *plan);
/* Where the crops of image `index` go: one target per kind of crop. */
void batch_job_targets(const struct batch_job *job, const struct config *config, uint32_t index,
                       struct multicrop_target *ret_targets);
/* Makes the crops of image `index` black. */
void batch_job_blank(struct batch_job *job, const struct config *config, uint32_t index);
/* Once it is over: says in the batch what is trained on, counts what is blank, and lists the bad
 * records, each once, in order of position. */
void batch_job_collect(struct batch_job *job);

#endif
