/* sources.h - the shards a loader knows, each with a reader for every decode thread.
 *
 * The table belongs to the loader's owner. Decode threads reach a source through the plans that use
 * it, and use only their own reader; use_count says whether any such plan is left. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SOURCES_H
#define LOADER_SOURCES_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/status.h"
#include "loader/shard.h"

struct source {
    uint32_t id;
    struct shard *shard;
    struct shard_reader **readers; /* [thread_count] */
    atomic_uint use_count;         /* images of unfinished plans */
    int is_removed;                /* closed once nobody uses it; owner only */
};

struct sources {
    int thread_count;
    uint32_t count, capacity;
    struct source **items; /* [count], sorted by id; owned */
};

void sources_init(struct sources *sources, int thread_count);
/* Nobody may use any of them any more. */
void sources_done(struct sources *sources);
/* NULL if there is none or it was removed. */
struct source *sources_find(const struct sources *sources, uint32_t id);
/* Blocks on disk. The same again is fine. ERR_INPUT: the id is another path's, or no shard there.
 * ERR_IO, ERR_CORRUPT. */
enum status sources_add(struct sources *sources, uint32_t id, const char *path);
/* An unknown id is fine. The shard is closed by sources_sweep once it is unused. */
void sources_remove(struct sources *sources, uint32_t id);
void sources_sweep(struct sources *sources);

#endif
