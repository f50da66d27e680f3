/* picture_reader.h - the pictures of a store, one after another, all of one size.
 *
 * As evaluation sees them: torchvision's Resize(256) and CenterCrop(224) on Pillow's pixels, other
 * sizes in the same ratio; a picture that has the size already is taken as it is. Order: shards
 * by name, records within. With a limit, a random sample that depends on the store's size alone. A
 * record that cannot be decoded is left out and counted. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_PICTURE_READER_H
#define WORKER_EVAL_PICTURE_READER_H

#include <stdint.h>

#include "common/status.h"
#include "worker/eval/subset.h"

struct picture_reader;

struct picture {
    const uint8_t *pixels; /* [size][size][3]; valid until the next call */
    int32_t label;         /* LABEL_NONE (-1) if there is none */
    const char *shard;     /* name; valid until the next call */
    uint32_t record;
    uint64_t index; /* among all records of the store */
};

/* limit 0: every record. ERR_INPUT: no store, or an empty one. */
enum status picture_reader_open(const char *store, int size, uint64_t limit,
                                struct picture_reader **ret_reader);
/* Those records alone; chosen is taken over, ascending. */
enum status picture_reader_open_chosen(const char *store, int size, struct subset *chosen,
                                       struct picture_reader **ret_reader);
void picture_reader_close(struct picture_reader *reader); /* NULL is fine */
/* Records it goes through; pictures are at most as many. */
uint64_t picture_reader_count(const struct picture_reader *reader);
/* Records left out so far. */
uint64_t picture_reader_skipped(const struct picture_reader *reader);
/* ERR_END after the last one. */
enum status picture_reader_next(struct picture_reader *reader, struct picture *ret_picture);

#endif
