/* feature_set.h - features of many pictures at several layers, kept in memory.
 *
 * Pictures as evaluation sees them (picture_reader.h), each once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_FEATURE_SET_H
#define WORKER_EVAL_FEATURE_SET_H

#include <stdint.h>

#include "common/status.h"
#include "worker/eval/features.h"
#include "worker/eval/subset.h"

struct feature_set {
    int64_t count;
    int64_t skipped; /* records that could not be decoded */
    int layer_count;
    int width[LAYERS_MAX];
    float *values[LAYERS_MAX]; /* [count][width]; owned */
    int32_t *labels;           /* [count]; owned */
    uint64_t *items;           /* [count] which record of the store; ascending; owned */
};

/* Features of those pictures of the store; chosen is taken over. ERR_INPUT: they do not fit in
 * memory, one has no label, none can be decoded, or as features_of_layers. */
enum status feature_set_load(struct features *features, const char *store, int size,
                             struct subset *chosen, struct feature_set *ret_set);
void feature_set_done(struct feature_set *set);
/* Rows of the set that hold these records, ascending; what could not be decoded is missing. */
void feature_set_rows(const struct feature_set *set, const struct subset *records,
                      struct subset *ret_rows);

#endif
