/* views.h - the pictures of a store as a classifier is trained on them: shuffled, and in each pass
 * cropped and changed anew.
 *
 * A probe on frozen features sees the paper's transforms for it: torchvision's RandomResizedCrop
 * (area 0.08 to 1) and a flip of one half. Finetuning adds SwAV's changes of colour and blur. What
 * stands at which place of batch number b is a function of (seed, b) alone. A batch is cut into
 * slots, of which several processes may share the work. Decoding runs ahead in threads of its own
 * (loader.h); a picture that cannot be decoded is replaced by the next of its slot. One thread uses
 * it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_VIEWS_H
#define WORKER_EVAL_VIEWS_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "loader/loader.h"
#include "worker/eval/labelled.h"
#include "worker/eval/subset.h"

struct views;

struct views_rule {
    int size;                   /* pixels of a side */
    int batch;                  /* of all slots together */
    int slot_images;            /* 0: one slot */
    int first_slot, slot_count; /* of those here; count 0: all */
    int has_colors;             /* SwAV's jitter, grey and blur, too */
    uint64_t first_batch;       /* number of the one that comes first */
    int threads;
    int64_t max_pixels; /* of a picture that is decoded */
    uint64_t seed;
};

/* labelled and chosen (not empty) are borrowed for its life. */
enum status views_open(const struct labelled *labelled, const struct subset *chosen,
                       const struct views_rule *rule, struct views **ret_views);
void views_close(struct views *views); /* NULL is fine */
/* The slots of the next batch that are here, pixels at crops[0], and their labels by row: both
 * until the next call. Blocks. ERR_INPUT: a shard cannot be read, or no picture of a slot can be
 * decoded.
 */
enum status views_next(struct views *views, const struct batch **ret_batch,
                       const int32_t **ret_labels);
int views_batch(const struct views *views);
/* Places where another picture stood in so far. */
uint64_t views_replaced(const struct views *views);

#endif
