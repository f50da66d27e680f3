/* sources.c - a sorted array of open shards. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/sources.h"

#include <string.h>

#include "common/mem.h"

static void source_destroy(struct source *source, int thread_count)
{
    if (source == NULL)
        return;
    for (int i = 0; i < thread_count; i++)
        shard_reader_close(source->readers[i]);
    mem_free(source->readers);
    shard_close(source->shard);
    mem_free(source);
}

static enum status source_create(uint32_t id, const char *path, int thread_count,
                                 struct source **ret_source)
{
    enum status status = OK;
    struct source *source = mem_zero(sizeof(*source));
    source->id = id;
    source->readers = mem_array((size_t)thread_count, sizeof(struct shard_reader *));
    TRY_OUT(shard_open(path, &source->shard));
    for (int i = 0; i < thread_count; i++)
        TRY_OUT(shard_reader_open(source->shard, &source->readers[i]));
    *ret_source = source;
    source = NULL; /* given to the caller */
out:
    source_destroy(source, thread_count);
    return status;
}

/* The first place whose id is not below this one. */
static uint32_t lower_bound(const struct sources *sources, uint32_t id)
{
    uint32_t low = 0, high = sources->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sources->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Removed ones too, as long as they are open. */
static struct source *find_open(const struct sources *sources, uint32_t id)
{
    uint32_t at = lower_bound(sources, id);
    return at < sources->count && sources->items[at]->id == id ? sources->items[at] : NULL;
}

static void insert(struct sources *sources, struct source *source)
{
    if (sources->count == sources->capacity) {
        sources->capacity = sources->capacity * 2 + 16;
        sources->items = mem_resize(sources->items, sources->capacity * sizeof(*sources->items));
    }
    uint32_t at = lower_bound(sources, source->id);
    memmove(sources->items + at + 1, sources->items + at,
            (sources->count - at) * sizeof(*sources->items));
    sources->items[at] = source;
    sources->count++;
}

void sources_init(struct sources *sources, int thread_count)
{
    *sources = (struct sources){.thread_count = thread_count};
}

void sources_done(struct sources *sources)
{
    for (uint32_t i = 0; i < sources->count; i++)
        source_destroy(sources->items[i], sources->thread_count);
    mem_free(sources->items);
    *sources = (struct sources){0};
}

struct source *sources_find(const struct sources *sources, uint32_t id)
{
    struct source *source = find_open(sources, id);
    return source != NULL && !source->is_removed ? source : NULL;
}

enum status sources_add(struct sources *sources, uint32_t id, const char *path)
{
    sources_sweep(sources);
    struct source *source = find_open(sources, id);
    if (source != NULL && strcmp(shard_path(source->shard), path) != 0)
        return fail(ERR_INPUT,
                    "shard %u is '%s' and cannot be '%s' too: a shard's id is never used again", id,
                    shard_path(source->shard), path);
    if (source != NULL) {
        source->is_removed = 0;
        return OK;
    }
    TRY(source_create(id, path, sources->thread_count, &source));
    insert(sources, source);
    return OK;
}

void sources_remove(struct sources *sources, uint32_t id)
{
    struct source *source = find_open(sources, id);
    if (source != NULL)
        source->is_removed = 1;
}

void sources_sweep(struct sources *sources)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < sources->count; i++) {
        struct source *source = sources->items[i];
        if (source->is_removed && atomic_load(&source->use_count) == 0)
            source_destroy(source, sources->thread_count);
        else
            sources->items[kept++] = source;
    }
    sources->count = kept;
}
