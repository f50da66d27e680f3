/* shard_table.h - the shards a loader knows, each with a reader for every decode thread.
 *
 * The table belongs to the thread that submits plans. Decode threads reach a shard through the
 * plans that use it, and use only their own reader; use_count says whether any such plan is left.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_TABLE_H
#define LOADER_SHARD_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/status.h"
#include "loader/shard.h"

struct open_shard {
    uint32_t id;
    struct shard *shard;
    struct shard_reader **readers; /* [thread_count] */
    atomic_uint use_count;         /* images of plans not taken yet */
    int is_removed;                /* closed once nobody uses it */
};

struct shard_table {
    int thread_count;
    uint32_t count, capacity;
    struct open_shard **items; /* [count], sorted by id; owned */
};

void shard_table_init(struct shard_table *table, int thread_count);
/* Nobody may use any of them any more. */
void shard_table_done(struct shard_table *table);
/* NULL if there is none or it was removed. */
struct open_shard *shard_table_find(const struct shard_table *table, uint32_t id);
/* Blocks on disk. The same again is fine. ERR_INPUT: the id is another path's, or no shard there.
 * ERR_IO, ERR_CORRUPT. */
enum status shard_table_add(struct shard_table *table, uint32_t id, const char *path);
/* An unknown id is fine. The shard is closed by shard_table_sweep once it is unused. */
void shard_table_remove(struct shard_table *table, uint32_t id);
void shard_table_sweep(struct shard_table *table);

#endif
