/* job.h - one submitted plan on its way to a batch: what to decode, where the crops go, how far it
 * is.
 *
 * An image of a job is known by its index, 0 .. slot_count * slot_images - 1, in plan order. The
 * loader's lock guards the progress; all else is written by the owner before the first image is
 * claimed, or by the one thread that claimed an image, in that image's own places. A job keeps its
 * memory when it is planned again. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_JOB_H
#define LOADER_JOB_H

#include <stdint.h>

#include "loader/loader.h"
#include "loader/multicrop.h"

struct open_shard; /* shard_table.h */

/* What is known of one image of a job. */
struct job_image {
    struct record_ref record;
    struct open_shard *shard; /* borrowed; of record.shard */
    uint64_t position;
    char bad_reason[96]; /* why its own record was not used; "" if it was */
    /* What its pixels are of; RECORD_NONE: no record of its slot could be decoded. */
    struct record_ref trained;
};

struct job {
    struct batch batch; /* first: loader_give finds the job by its batch */
    struct job *next;   /* of the list it is in */
    uint32_t image_count;
    struct job_image *images; /* [image_count] */
    uint32_t slot_capacity;   /* slots there is memory for */

    /* Progress: claimed <= wanted <= image_count, done <= claimed. A job that is dropped wants no
     * more than was claimed; it is over when done == wanted. */
    uint32_t wanted, claimed, done;
    int is_dropped;
};

struct job *job_create(void);
void job_destroy(struct job *job); /* NULL is fine */
/* Copies the plan, all but the shards, and makes room for its crops. */
void job_plan(struct job *job, const struct config *config, const struct batch_plan *plan);
/* Where the crops of image `index` go: one target per kind of crop. */
void job_targets(const struct job *job, const struct config *config, uint32_t index,
                 struct multicrop_target *ret_targets);
/* Makes the crops of image `index` black. */
void job_blank(struct job *job, const struct config *config, uint32_t index);
/* Once it is over: says in the batch what is trained on, counts what is blank, and lists the bad
 * records, each once, in order of position. */
void job_collect(struct job *job);

#endif
