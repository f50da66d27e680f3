/* stream.h - which image is at which position of an endless, changing stream.
 *
 * Positions 0, 1, 2, ... are described by a catalogue of entries, each valid from its start to the
 * start of the next. The model:
 *
 * A *pass* is one permuted run over all records of a list of shards: the shards' records laid end
 * to end are cut in blocks of block_records; all whole blocks are permuted (key: seed, pass); each
 * run of window_blocks permuted blocks is a *window*; the records of a window are permuted (key:
 * seed, pass, window). The records left over behind the last whole block stay last, in their
 * window. So each record of a pass is at exactly one place of it.
 *
 * An *entry* is the windows [first_window, ...) of a pass without the records of `dropped` shards
 * (records that remain keep to their window, which shrinks). It ends with its pass, or where the
 * next entry starts, always between two windows.
 *
 * Adding shards cuts the entry at the first window boundary at or beyond what is planned, inserts a
 * pass over the new shards alone (newest first served), and then goes on with what was cut off.
 * Retiring shards cuts likewise and goes on without them. When all is planned: a new pass over the
 * live shards (repeat), or nothing (wait). Nothing below the planned horizon ever changes, and
 * every record of a pass is in {planned once, retired}.
 *
 * Memory: a few words per shard and per shard of an entry; 8 bytes per window of an entry with
 * dropped shards, if it is one of the last eight or was asked for a place since. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_STREAM_H
#define SERVER_STREAM_H

#include <stdint.h>

#include "common/status.h"

struct stream_entry {
    uint64_t start; /* position of its first record; voids what an older entry says from there on */
    uint64_t pass;  /* key of the permutation */
    uint64_t first_window;
    uint32_t shard_count;
    uint32_t *shards; /* of the pass, in its order */
    uint32_t dropped_count;
    uint32_t *dropped; /* shards of the pass that are passed over */
};

struct stream_place {
    uint32_t shard, record;
    uint64_t pass;
};

struct stream_setup {
    uint64_t seed;
    uint64_t block_records, window_blocks;
    int is_repeating; /* 0: wait for new shards at the end */
};

enum { STREAM_SHARDS_MAX = 1 << 20, STREAM_SHARD_RECORDS_MAX = 1 << 30 };

struct stream;

struct stream *stream_create(const struct stream_setup *setup);
void stream_destroy(struct stream *stream); /* NULL is fine */

/* Takes note of a shard; its id is the number of shards before. No position changes yet. ERR_INPUT
 * for no or too many records. */
enum status stream_add_shard(struct stream *stream, uint64_t records, uint32_t *ret_id);
void stream_retire_shard(struct stream *stream, uint32_t shard);
/* Another answer to the end of all images: from what is not described yet on. */
void stream_set_repeating(struct stream *stream, int is_repeating);
uint32_t stream_shard_count(const struct stream *stream);
uint64_t stream_shard_records(const struct stream *stream, uint32_t shard);
int stream_is_retired(const struct stream *stream, uint32_t shard);

/* The next entry to journal and then append (stream_append), if positions up to `wanted` are to be
 * planned and those below `planned` must not change. Call until it returns 0. *ret_entry borrows
 * from the stream until the next call of any function that changes it. Covers: shards that are in
 * no pass yet, retired shards that are still ahead, and the end of all that is described. */
int stream_next_entry(struct stream *stream, uint64_t planned, uint64_t wanted,
                      const struct stream_entry **ret_entry);
/* Appends an entry (copied). Restores from the journal the same way. ERR_CORRUPT for an entry that
 * does not fit its shards. */
enum status stream_append(struct stream *stream, const struct stream_entry *entry);

/* Positions from here on can be asked for; those before are forgotten. */
uint64_t stream_begin(const struct stream *stream);
/* Positions below this have an image. */
uint64_t stream_end(const struct stream *stream);
/* O(log entries + log shards); O(window_blocks log shards) more in entries with dropped shards, and
 * O(blocks of the pass) once for each that lies far back. position < stream_end(). */
struct stream_place stream_find(const struct stream *stream, uint64_t position);
/* Records that were dropped from passes by retirement, in entries that begin before `position`. */
uint64_t stream_retired_records(const struct stream *stream, uint64_t position);
/* 1 if some position in [from, stream_end()) has a record of this shard. */
int stream_uses_shard(const struct stream *stream, uint32_t shard, uint64_t from);
/* Forgets entries that end at or before position, to bound memory. */
void stream_forget(struct stream *stream, uint64_t position);

#endif
