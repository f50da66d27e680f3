/* buckets.h - gradients leave for the other members while backward still computes.
 *
 * Backward completes the gradient arena from its end towards its start; as soon as a bucket's worth
 * is complete it is summed over members in the background. The last message is a seal: sums of what
 * every member knows for itself. If they are not what they must be, then what was summed was not of
 * the same members, step and number of messages, and counts for nothing. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_BUCKETS_H
#define WORKER_MODEL_BUCKETS_H

#include <stdint.h>

#include "worker/model/team.h"

struct buckets {
    struct team *team;    /* borrowed */
    size_t bucket_floats; /* at least */
    size_t unsent;        /* floats at the arena's start that are not under way yet */
    double *seal;         /* in the exchange area */
    uint64_t step;
};

/* bucket_kib is raised where it would make more buckets than a collective takes at once. */
void buckets_init(struct buckets *buckets, struct team *team, const struct config *config);
/* Before backward of `step`; `extra` floats at data (may be 0) go first. */
enum status buckets_begin(struct buckets *buckets, uint64_t step, float *data, size_t extra);
/* From here to buckets_rest is backward, which a tape may record: all gradients are to come. */
void buckets_expect(struct buckets *buckets);
/* Further floats that are complete, summed as they are. */
enum status buckets_add(struct buckets *buckets, float *data, size_t count);
/* Every gradient from `first` to the end of the arena is complete. */
enum status buckets_ready(struct buckets *buckets, const float *first);
/* Every gradient is. */
enum status buckets_rest(struct buckets *buckets);
/* Seals what was sent and waits for all. ERR_PROTOCOL: the seal is broken. */
enum status buckets_finish(struct buckets *buckets);
/* After that: how many members say so. */
enum status buckets_count(struct buckets *buckets, int is_one, int *ret_count);
/* After that: member r's floats, which lie at data + r*floats on that member, land there on
 * everybody, under a seal of their own. Errors as buckets_finish. */
enum status buckets_gather(struct buckets *buckets, float *data, size_t floats);

#endif
