/* shard_table.c - a sorted array of open shards. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_table.h"

#include <string.h>

#include "common/mem.h"

static void open_shard_destroy(struct open_shard *open, int thread_count)
{
    if (open == NULL)
        return;
    for (int i = 0; i < thread_count; i++)
        shard_reader_close(open->readers[i]);
    mem_free(open->readers);
    shard_close(open->shard);
    mem_free(open);
}

static enum status open_shard_create(uint32_t id, const char *path, int thread_count,
                                     struct open_shard **ret_open)
{
    enum status status = OK;
    struct open_shard *open = mem_zero(sizeof(*open));
    open->id = id;
    open->readers = mem_array((size_t)thread_count, sizeof(struct shard_reader *));
    TRY_OUT(shard_open(path, &open->shard));
    for (int i = 0; i < thread_count; i++)
        TRY_OUT(shard_reader_open(open->shard, &open->readers[i]));
    *ret_open = open;
    open = NULL; /* given to the caller */
out:
    open_shard_destroy(open, thread_count);
    return status;
}

/* The first place whose id is not below this one. */
static uint32_t lower_bound(const struct shard_table *table, uint32_t id)
{
    uint32_t low = 0, high = table->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (table->items[middle]->id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Removed ones too, as long as they are open. */
static struct open_shard *find_open(const struct shard_table *table, uint32_t id)
{
    uint32_t at = lower_bound(table, id);
    return at < table->count && table->items[at]->id == id ? table->items[at] : NULL;
}

static void insert(struct shard_table *table, struct open_shard *open)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity * 2 + 16;
        table->items = mem_resize(table->items, table->capacity * sizeof(*table->items));
    }
    uint32_t at = lower_bound(table, open->id);
    memmove(table->items + at + 1, table->items + at, (table->count - at) * sizeof(*table->items));
    table->items[at] = open;
    table->count++;
}

void shard_table_init(struct shard_table *table, int thread_count)
{
    *table = (struct shard_table){.thread_count = thread_count};
}

void shard_table_done(struct shard_table *table)
{
    for (uint32_t i = 0; i < table->count; i++)
        open_shard_destroy(table->items[i], table->thread_count);
    mem_free(table->items);
    *table = (struct shard_table){0};
}

struct open_shard *shard_table_find(const struct shard_table *table, uint32_t id)
{
    struct open_shard *open = find_open(table, id);
    return open != NULL && !open->is_removed ? open : NULL;
}

enum status shard_table_add(struct shard_table *table, uint32_t id, const char *path)
{
    shard_table_sweep(table);
    struct open_shard *open = find_open(table, id);
    if (open != NULL && strcmp(shard_path(open->shard), path) != 0)
        return fail(ERR_INPUT,
                    "shard %u is '%s' and cannot be '%s' too: a shard's id is never used again", id,
                    shard_path(open->shard), path);
    if (open != NULL) {
        open->is_removed = 0;
        return OK;
    }
    TRY(open_shard_create(id, path, table->thread_count, &open));
    insert(table, open);
    return OK;
}

void shard_table_remove(struct shard_table *table, uint32_t id)
{
    struct open_shard *open = find_open(table, id);
    if (open != NULL)
        open->is_removed = 1;
}

void shard_table_sweep(struct shard_table *table)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        struct open_shard *open = table->items[i];
        if (open->is_removed && atomic_load(&open->use_count) == 0)
            open_shard_destroy(open, table->thread_count);
        else
            table->items[kept++] = open;
    }
    table->count = kept;
}
