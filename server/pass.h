/* pass.h - one entry of the stream's catalogue as a function: index -> (shard, record).
 *
 * The geometry of stream.h's model: blocks, windows, dropped shards. Index 0 is the entry's first
 * record; windows are numbered as in the whole pass. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_PASS_H
#define SERVER_PASS_H

#include <stdint.h>

#include "server/stream.h"

struct pass {
    struct stream_entry entry; /* own copy */
    uint64_t seed, block_records, window_blocks;
    uint64_t records;     /* of the whole pass, dropped ones too */
    uint64_t windows;     /* of the whole pass */
    uint64_t *shard_ends; /* [shard_count] records of the shards up to and with this one */
    uint8_t *is_dropped;  /* [shard_count] */
    uint64_t *kept_ends;  /* [windows - first_window] records kept up to the window's end; NULL when
                             nothing is dropped */
    int is_thin;          /* has none of these three arrays: only its entry may be asked */
    uint64_t retired; /* of a thin one: records that it passes over up to position retired_end */
    uint64_t retired_end;
};

/* shard_records: records of each shard of the entry, in its order. before: an earlier entry of the
 * same pass, from which what is kept is counted on, in O(windows + blocks of the shards dropped
 * since), where counting anew is O(blocks of the pass); one that does not lend itself to that, or
 * NULL, is fine. */
struct pass *pass_create(const struct stream_setup *setup, const struct stream_entry *entry,
                         const uint64_t *shard_records, const struct pass *before);
void pass_destroy(struct pass *pass); /* NULL is fine */
/* Gives back what follows from the entry, but for how much it passes over. */
void pass_thin(struct pass *pass, uint64_t retired, uint64_t retired_end);
/* Records from first_window to the end of the pass, without dropped ones. */
uint64_t pass_length(const struct pass *pass);
/* Index of a window's first record; window in [first_window, windows]. */
uint64_t pass_window_start(const struct pass *pass, uint64_t window);
/* First window that starts at or after index; `windows` if none does. */
uint64_t pass_window_from(const struct pass *pass, uint64_t index);
/* Records in windows [from, to), dropped ones too. */
uint64_t pass_raw_records(const struct pass *pass, uint64_t from, uint64_t to);
struct stream_place pass_find(const struct pass *pass, uint64_t index);

void stream_entry_copy(const struct stream_entry *from, struct stream_entry *ret_copy);
void stream_entry_done(struct stream_entry *entry);

#endif
