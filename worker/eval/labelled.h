/* labelled.h - the label of every record of a store, without a look at the images.
 *
 * Records count through the shards, which are sorted by name. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_LABELLED_H
#define WORKER_EVAL_LABELLED_H

#include <stdint.h>

#include "common/status.h"
#include "loader/store.h"

enum { LABELLED_CLASSES_MAX = 1 << 20 };

struct labelled {
    struct store store;
    uint64_t count;
    int32_t *labels; /* [count]; owned; LABEL_NONE where the record itself is damaged */
    int class_count; /* the largest label and 1 */
};

/* ERR_INPUT for LABEL_NONE, with the words that a picture without a label calls for. */
enum status label_require(const char *store, const char *shard, uint32_t record, int32_t label);
/* Touches every record. ERR_INPUT: no store, an empty one, a record without a label, or one beyond
 * LABELLED_CLASSES_MAX. */
enum status labelled_load(const char *path, struct labelled *ret_labelled);
void labelled_done(struct labelled *labelled);
/* Shard and place in it of record `index`. */
void labelled_place(const struct labelled *labelled, uint64_t index, uint32_t *ret_shard,
                    uint32_t *ret_record);
/* The reverse. */
uint64_t labelled_index(const struct labelled *labelled, uint32_t shard, uint32_t record);
/* Numbers labels [count] of the store at path as `reference` numbers its classes by name. A class
 * that reference does not have becomes LABEL_NONE: nobody can guess it. Stores without names leave
 * them as they are. */
enum status labelled_renumber(int32_t *labels, int64_t count, const char *path,
                              const char *reference);

#endif
