/* views.h - the pictures of a store as a probe is trained on them: shuffled, and in each pass
 * cropped and mirrored anew.
 *
 * The paper's transforms for training on frozen features: torchvision's RandomResizedCrop (area
 * 0.08 to 1) and a flip of one half. What batch number b holds is a function of (seed, b) alone.
 * Decoding runs ahead in threads of its own (loader.h); a picture that cannot be decoded is
 * replaced by the next of its batch. One thread uses it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_VIEWS_H
#define WORKER_EVAL_VIEWS_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "worker/eval/labelled.h"
#include "worker/eval/subset.h"

struct views;

struct views_rule {
    int size; /* pixels of a side */
    int batch;
    int threads;
    int64_t max_pixels; /* of a picture that is decoded */
    uint64_t seed;
};

/* labelled and chosen (not empty) are borrowed for its life. */
enum status views_open(const struct labelled *labelled, const struct subset *chosen,
                       const struct views_rule *rule, struct views **ret_views);
void views_close(struct views *views); /* NULL is fine */
/* pixels [batch][size][size][3] and labels [batch], both until the next call. Blocks. ERR_INPUT: a
 * shard cannot be read, or no picture of a batch can be decoded. */
enum status views_next(struct views *views, const uint8_t **ret_pixels, const int32_t **ret_labels);
int views_batch(const struct views *views);
/* Places where another picture stood in so far. */
uint64_t views_replaced(const struct views *views);

#endif
