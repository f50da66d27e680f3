/* shard_table.c - a sorted array of shards, and the thread that opens them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/clock.h"
#include "common/mem.h"
#include "loader/shard_opener.h"

static void open_shard_destroy(struct open_shard *open, int thread_count)
{
    shard_opener_close(open, thread_count);
    mem_free(open->readers);
    mem_free(open->path);
    mem_free(open);
}

static struct open_shard *open_shard_create(uint32_t id, const char *path,
                                            const struct planned_shard *planned, int thread_count)
{
    struct open_shard *open = mem_zero(sizeof(*open));
    open->id = id;
    open->path = mem_string(path);
    const char *slash = strrchr(open->path, '/');
    open->planned = *planned;
    open->planned.name = slash != NULL ? slash + 1 : open->path;
    open->readers = mem_array((size_t)thread_count, sizeof(struct shard_reader *));
    open->trouble.shard = id;
    open->is_told = 1;
    return open;
}

/* ---- the opener ---- */

/* The one to be opened now; NULL: *ret_next_ms says when to look again, -1 = when something
 * changes. */
static struct open_shard *find_due(const struct shard_table *table, int64_t now_ms,
                                   int64_t *ret_next_ms)
{
    *ret_next_ms = -1;
    for (uint32_t i = 0; i < table->count; i++) {
        struct open_shard *open = table->items[i];
        if (open->state != SHARD_OPENING || open->is_removed)
            continue;
        if (open->next_ms <= now_ms)
            return open;
        if (*ret_next_ms < 0 || open->next_ms < *ret_next_ms)
            *ret_next_ms = open->next_ms;
    }
    return NULL;
}

static void wait_until(struct shard_table *table, int64_t until_ms)
{
    const struct timespec until = {.tv_sec = until_ms / 1000,
                                   .tv_nsec = (until_ms % 1000) * 1000000};
    if (until_ms < 0)
        pthread_cond_wait(&table->changed, &table->lock);
    else
        pthread_cond_timedwait(&table->changed, &table->lock, &until);
}

static void opener_run(void *argument)
{
    struct shard_table *table = argument;
    int64_t next_ms;
    pthread_mutex_lock(&table->lock);
    while (!table->is_stopping) {
        struct open_shard *open = find_due(table, clock_ms(), &next_ms);
        if (open == NULL) {
            wait_until(table, next_ms);
            continue;
        }
        int is_remote = 0;
        open->is_busy = 1;
        open->is_pressed = 0;
        pthread_mutex_unlock(&table->lock);
        enum status status = shard_opener_try(table, open, &is_remote);
        pthread_mutex_lock(&table->lock);
        open->is_busy = 0;
        shard_opener_settle(table, open, status, is_remote);
        if (open->is_pressed)
            open->next_ms = 0;
        pthread_cond_broadcast(&table->changed);
    }
    pthread_mutex_unlock(&table->lock);
}

/* ---- the owner; these are called with the lock held ---- */

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

/* Removed ones too, as long as they are in use. */
static struct open_shard *find(const struct shard_table *table, uint32_t id)
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

static void sweep(struct shard_table *table)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < table->count; i++) {
        struct open_shard *open = table->items[i];
        if (open->is_removed && !open->is_busy && atomic_load(&open->use_count) == 0)
            open_shard_destroy(open, table->thread_count);
        else
            table->items[kept++] = open;
    }
    table->count = kept;
}

static enum status add(struct shard_table *table, uint32_t id, const char *path,
                       const struct planned_shard *planned)
{
    sweep(table);
    struct open_shard *open = find(table, id);
    if (open == NULL) {
        insert(table, open_shard_create(id, path, planned, table->thread_count));
        return OK;
    }
    if (strcmp(open->path, path) != 0)
        return fail(ERR_INPUT,
                    "shard %u is '%s' and cannot be '%s' too: a shard's id is never used again", id,
                    open->path, path);
    open->is_removed = 0;
    if (open->state == SHARD_FAILED)
        open->is_told = 0;
    return OK;
}

/* ---- the public functions take the lock themselves ---- */

enum status shard_table_start(struct shard_table *table, int thread_count,
                              const struct shard_elsewhere *elsewhere)
{
    *table = (struct shard_table){.thread_count = thread_count};
    if (elsewhere != NULL)
        table->elsewhere = *elsewhere;
    pthread_mutex_init(&table->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&table->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return thread_start(&table->opener, "shards", opener_run, table);
}

void shard_table_stop(struct shard_table *table)
{
    pthread_mutex_lock(&table->lock);
    table->is_stopping = 1;
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
    thread_stop(&table->opener);
    for (uint32_t i = 0; i < table->count; i++)
        open_shard_destroy(table->items[i], table->thread_count);
    mem_free(table->items);
    pthread_cond_destroy(&table->changed);
    pthread_mutex_destroy(&table->lock);
}

enum status shard_table_add(struct shard_table *table, uint32_t id, const char *path,
                            uint32_t records, uint64_t content_hash)
{
    const struct planned_shard planned = {.records = records, .content_hash = content_hash};
    pthread_mutex_lock(&table->lock);
    enum status status = add(table, id, path, &planned);
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
    return status;
}

void shard_table_remove(struct shard_table *table, uint32_t id)
{
    shard_table_keep(table, id, id + 1, NULL, 0);
}

void shard_table_keep(struct shard_table *table, uint32_t from, uint32_t until,
                      const uint32_t *kept, uint32_t count)
{
    uint32_t k = 0;
    pthread_mutex_lock(&table->lock);
    for (uint32_t i = lower_bound(table, from); i < table->count && table->items[i]->id < until;
         i++) {
        while (k < count && kept[k] < table->items[i]->id)
            k++;
        if (k == count || kept[k] != table->items[i]->id)
            table->items[i]->is_removed = 1;
    }
    sweep(table);
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
}

void shard_table_sweep(struct shard_table *table)
{
    pthread_mutex_lock(&table->lock);
    sweep(table);
    pthread_mutex_unlock(&table->lock);
}

struct open_shard *shard_table_use(struct shard_table *table, uint32_t id)
{
    pthread_mutex_lock(&table->lock);
    struct open_shard *open = find(table, id);
    if (open != NULL && open->is_removed)
        open = NULL;
    if (open != NULL)
        atomic_fetch_add(&open->use_count, 1);
    pthread_mutex_unlock(&table->lock);
    return open;
}

int shard_table_trouble(struct shard_table *table, struct shard_trouble *ret_trouble)
{
    int has_trouble = 0;
    uint32_t open_count = 0;
    pthread_mutex_lock(&table->lock);
    for (uint32_t i = 0; i < table->count; i++) {
        struct open_shard *open = table->items[i];
        open_count += open->state == SHARD_OPEN && !open->is_removed;
        if (has_trouble || open->is_told || open->is_removed)
            continue;
        open->is_told = has_trouble = 1;
        *ret_trouble = open->trouble;
    }
    pthread_mutex_unlock(&table->lock);
    if (has_trouble)
        ret_trouble->open_count = open_count;
    return has_trouble;
}

int shard_table_is_remote(struct shard_table *table, const struct open_shard *open)
{
    pthread_mutex_lock(&table->lock);
    int is_remote = open->state == SHARD_OPEN && open->is_remote;
    pthread_mutex_unlock(&table->lock);
    return is_remote;
}

enum shard_state shard_table_state(struct shard_table *table, const struct open_shard *open,
                                   struct shard_trouble *ret_trouble)
{
    pthread_mutex_lock(&table->lock);
    enum shard_state state = open->state;
    if (state == SHARD_FAILED)
        *ret_trouble = open->trouble;
    pthread_mutex_unlock(&table->lock);
    return state;
}

enum status shard_table_wait(struct shard_table *table, struct open_shard *open,
                             const atomic_int *is_void, int *ret_is_remote)
{
    pthread_mutex_lock(&table->lock);
    while (open->state != SHARD_OPEN && !open->is_removed && !atomic_load(is_void))
        pthread_cond_wait(&table->changed, &table->lock);
    enum shard_state state = open->state;
    int is_removed = open->is_removed;
    if (state == SHARD_OPEN)
        *ret_is_remote = open->is_remote;
    pthread_mutex_unlock(&table->lock);
    if (state == SHARD_OPEN)
        return OK;
    if (is_removed)
        return fail(ERR_CORRUPT, "shard cannot be opened");
    return fail(ERR_STALE, "nobody wants it any more");
}

void shard_table_fault(struct shard_table *table, struct open_shard *open)
{
    pthread_mutex_lock(&table->lock);
    if (open->state == SHARD_OPEN) {
        open->state = SHARD_OPENING;
        open->next_ms = 0;
        open->attempts = 0;
    }
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
}

void shard_table_wake(struct shard_table *table)
{
    pthread_mutex_lock(&table->lock);
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
}

void shard_table_retry(struct shard_table *table)
{
    pthread_mutex_lock(&table->lock);
    for (uint32_t i = 0; i < table->count; i++) {
        table->items[i]->next_ms = 0;
        table->items[i]->is_pressed = 1;
    }
    pthread_cond_broadcast(&table->changed);
    pthread_mutex_unlock(&table->lock);
}
