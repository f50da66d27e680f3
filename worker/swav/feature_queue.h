/* feature_queue.h - embeddings of the last images, so that small batches fill the prototypes too.
 *
 * SwAV's queue made global: queue_images images, newest first, the same on every member, part of
 * the state, pushed only when a step is committed. For Sinkhorn each image must count once, so
 * every member brings a share of the queue by its rank. Used from queue_start_step on, once full
 * (SwAV's rule; VISSL starts with random entries). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SWAV_FEATURE_QUEUE_H
#define WORKER_SWAV_FEATURE_QUEUE_H

#include "worker/model/head.h"

struct feature_queue {
    struct team *team; /* borrowed */
    int images;        /* 0: no queue */
    int batch_images;
    int crops, embedding;
    uint64_t start_step;
    float *collected; /* in the exchange area: [crop][batch_images][embedding] */
};

void feature_queue_init(struct feature_queue *queue, struct team *team,
                        const struct config *config);
int feature_queue_is_used(const struct feature_queue *queue, uint64_t number);
/* Images of this member's share, now and at most for a group of that size. */
int feature_queue_share(const struct feature_queue *queue);
int feature_queue_share_max(const struct feature_queue *queue, int size);
/* Scores of the share with these prototypes, as they are now: [share][K]. */
void feature_queue_scores(const struct feature_queue *queue, const struct prototypes *prototypes,
                          int crop, float *scores);
/* This step's embeddings to their places among those of all members, zero elsewhere: to be summed.
 */
void feature_queue_collect(const struct feature_queue *queue, const struct head *head,
                           const uint32_t *slots);
/* On commit: what was collected and summed goes in front, the oldest images fall out. */
void feature_queue_push(struct feature_queue *queue);
/* And so many are in it by then, says the state. */
void feature_queue_count(struct feature_queue *queue);

#endif
