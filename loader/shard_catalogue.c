/* shard_catalogue.c - lists of shards from a thread that reads manifests, and the table they go to.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_catalogue.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "loader/store.h"

struct catalogued {
    uint32_t id;
    uint64_t identity; /* of its files: the same number, the same bytes */
    char *path;
    struct loader_shard shard; /* owned texts */
    int is_present;            /* in the list that is being taken over */
    int is_settled;            /* it was opened, or failed, once */
    int is_logged;             /* that it failed was */
};

struct shard_catalogue {
    int store_count;
    char **stores; /* owned */
    struct shard_table table;
    struct thread scanner;

    pthread_mutex_t lock; /* guards the three below */
    pthread_cond_t stopping;
    int is_stopping;
    struct store *found; /* [store_count] a new list, not taken over yet; NULL: none */

    /* Of the owner: */
    uint32_t next_id;
    uint32_t count, capacity;
    struct catalogued *items; /* [count], sorted by name; owned */
    struct inventory inventory;
};

/* ---- the scanner ---- */

/* Sealing a shard renames it into shards/, which changes that directory's time. */
static int64_t changed_ns(const char *path)
{
    struct stat info;
    char *shards = mem_format("%s/shards", path);
    int64_t ns = stat(shards, &info) == 0
                     ? info.st_mtim.tv_sec * INT64_C(1000000000) + info.st_mtim.tv_nsec
                     : 0;
    mem_free(shards);
    return ns;
}

static void say_damaged(void *context, const char *reason)
{
    (void)context;
    log_warn("event=shard_damaged reason=\"%s\"", reason);
}

static void free_lists(struct shard_catalogue *catalogue, struct store *lists)
{
    for (int i = 0; lists != NULL && i < catalogue->store_count; i++)
        store_done(&lists[i]);
    mem_free(lists);
}

static enum status scan(struct shard_catalogue *catalogue, struct store **ret_lists)
{
    struct store *lists = mem_array((size_t)catalogue->store_count, sizeof(*lists));
    for (int i = 0; i < catalogue->store_count; i++) {
        enum status status = store_load_sound(catalogue->stores[i], say_damaged, NULL, &lists[i]);
        if (status != OK) {
            free_lists(catalogue, lists);
            return status;
        }
    }
    *ret_lists = lists;
    return OK;
}

static uint64_t look(const struct shard_catalogue *catalogue)
{
    uint64_t mark = 0;
    for (int i = 0; i < catalogue->store_count; i++) {
        int64_t ns = changed_ns(catalogue->stores[i]);
        mark = hash_bytes_seed(&ns, sizeof(ns), mark);
    }
    return mark;
}

/* Waits a while; returns whether to go on. */
static int rest(struct shard_catalogue *catalogue)
{
    int64_t until_ms = clock_ms() + CATALOGUE_LOOK_MS;
    const struct timespec until = {.tv_sec = until_ms / 1000,
                                   .tv_nsec = (until_ms % 1000) * 1000000};
    pthread_mutex_lock(&catalogue->lock);
    int error = 0;
    while (!catalogue->is_stopping && error == 0)
        error = pthread_cond_timedwait(&catalogue->stopping, &catalogue->lock, &until);
    int is_stopping = catalogue->is_stopping;
    pthread_mutex_unlock(&catalogue->lock);
    return !is_stopping;
}

static void hand_over(struct shard_catalogue *catalogue, struct store *lists)
{
    pthread_mutex_lock(&catalogue->lock);
    struct store *old = catalogue->found;
    catalogue->found = lists;
    pthread_mutex_unlock(&catalogue->lock);
    free_lists(catalogue, old);
}

static void scanner_run(void *argument)
{
    struct shard_catalogue *catalogue = argument;
    uint64_t mark = 0; /* the first scan was another's */
    int is_complained = 0, is_sure = 0;
    while (rest(catalogue)) {
        uint64_t now = look(catalogue);
        struct store *lists = NULL;
        if (now == mark && is_sure)
            continue;
        if (scan(catalogue, &lists) == OK) {
            hand_over(catalogue, lists);
            is_sure = now == mark; /* times are coarse: something may have come right behind it */
            mark = now;
            is_complained = 0;
            continue;
        }
        if (!is_complained)
            log_warn("event=store_unreadable reason=\"%s\" action=\"serving what is open\"",
                     fail_message());
        is_complained = 1;
    }
}

/* ---- the owner ---- */

static uint64_t identity_of(const struct store_shard *shard)
{
    struct stat info;
    char *data = mem_format("%s/data.mdb", shard->path);
    uint64_t words[4] = {shard->content_hash};
    if (stat(data, &info) == 0) {
        words[1] = (uint64_t)info.st_ino;
        words[2] = (uint64_t)info.st_size;
        words[3] = (uint64_t)info.st_mtim.tv_sec * 1000000000U + (uint64_t)info.st_mtim.tv_nsec;
    }
    mem_free(data);
    return hash_bytes(words, sizeof(words));
}

static uint32_t lower_bound(const struct shard_catalogue *catalogue, const char *name)
{
    uint32_t low = 0, high = catalogue->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(catalogue->items[middle].shard.name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct catalogued *find(const struct shard_catalogue *catalogue, const char *name)
{
    uint32_t at = lower_bound(catalogue, name);
    int is_it = at < catalogue->count && strcmp(catalogue->items[at].shard.name, name) == 0;
    return is_it ? &catalogue->items[at] : NULL;
}

static void let_go(struct shard_catalogue *catalogue, struct catalogued *item)
{
    shard_table_remove(&catalogue->table, item->id);
    mem_free(item->path);
    mem_free(item->shard.name);
    mem_free(item->shard.reason);
}

static struct catalogued *insert(struct shard_catalogue *catalogue, const char *name)
{
    uint32_t at = lower_bound(catalogue, name);
    if (catalogue->count == catalogue->capacity) {
        catalogue->capacity = catalogue->capacity * 2 + 16;
        catalogue->items =
            mem_resize(catalogue->items, catalogue->capacity * sizeof(*catalogue->items));
    }
    memmove(catalogue->items + at + 1, catalogue->items + at,
            (catalogue->count - at) * sizeof(*catalogue->items));
    catalogue->count++;
    return &catalogue->items[at];
}

static void take_up(struct shard_catalogue *catalogue, const struct store_shard *shard)
{
    uint64_t identity = identity_of(shard);
    struct catalogued *item = find(catalogue, shard->name);
    if (item != NULL && item->is_present)
        return; /* a store that was given earlier has it */
    int is_same =
        item != NULL && item->identity == identity && strcmp(item->path, shard->path) == 0;
    if (is_same) {
        item->is_present = 1;
        return;
    }
    if (item != NULL)
        let_go(catalogue, item);
    else
        item = insert(catalogue, shard->name);
    *item = (struct catalogued){.id = catalogue->next_id++,
                                .identity = identity,
                                .path = mem_string(shard->path),
                                .is_present = 1,
                                .shard = {.name = mem_string(shard->name),
                                          .records = shard->record_count,
                                          .bytes = shard->bytes,
                                          .content_hash = shard->content_hash}};
    if (shard_table_add(&catalogue->table, item->id, item->path, 0, 0) != OK)
        log_warn("event=shard_refused reason=\"%s\"", fail_message());
    log_debug("event=shard_found shard=%s records=%u", item->shard.name, item->shard.records);
}

static void take_over(struct shard_catalogue *catalogue, const struct store *lists)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < catalogue->count; i++)
        catalogue->items[i].is_present = 0;
    for (int i = 0; i < catalogue->store_count; i++)
        for (uint32_t s = 0; s < lists[i].shard_count; s++)
            take_up(catalogue, &lists[i].shards[s]);
    for (uint32_t i = 0; i < catalogue->count; i++) {
        if (catalogue->items[i].is_present)
            catalogue->items[kept++] = catalogue->items[i];
        else
            let_go(catalogue, &catalogue->items[i]);
    }
    catalogue->count = kept;
}

/* What the table says of it, for the inventory. GONE: nothing, so far. Returns whether that is new.
 */
static int ask_table(struct shard_catalogue *catalogue, struct catalogued *item)
{
    struct shard_trouble trouble = {0};
    uint32_t before = item->shard.state;
    struct open_shard *open = shard_table_use(&catalogue->table, item->id);
    enum shard_state state =
        open != NULL ? shard_table_state(&catalogue->table, open, &trouble) : SHARD_FAILED;
    if (open != NULL)
        atomic_fetch_sub(&open->use_count, 1);
    item->is_settled |= state != SHARD_OPENING;
    item->shard.state = state == SHARD_OPEN                     ? LOADER_SHARD_HELD
                        : trouble.kind == SHARD_TROUBLE_DAMAGED ? LOADER_SHARD_DAMAGED
                                                                : LOADER_SHARD_GONE;
    if (state != SHARD_FAILED || item->is_logged)
        return item->shard.state != before;
    item->is_logged = 1;
    log_warn("event=shard_unreadable shard=%s reason=\"%s\" action=\"not serving it\"",
             item->shard.name, trouble.reason);
    mem_free(item->shard.reason);
    item->shard.reason = mem_format("%.*s", LOADER_REASON_MAX, trouble.reason);
    return 1;
}

static void list(struct shard_catalogue *catalogue)
{
    inventory_done(&catalogue->inventory);
    for (uint32_t i = 0; i < catalogue->count; i++)
        if (catalogue->items[i].shard.state != LOADER_SHARD_GONE &&
            inventory_put(&catalogue->inventory, &catalogue->items[i].shard) != OK)
            return; /* more than anybody would take */
}

const struct inventory *shard_catalogue_inventory(struct shard_catalogue *catalogue,
                                                  int *ret_is_whole)
{
    pthread_mutex_lock(&catalogue->lock);
    struct store *found = catalogue->found;
    catalogue->found = NULL;
    pthread_mutex_unlock(&catalogue->lock);
    int is_changed = found != NULL;
    if (found != NULL)
        take_over(catalogue, found);
    free_lists(catalogue, found);
    *ret_is_whole = 1;
    for (uint32_t i = 0; i < catalogue->count; i++) {
        is_changed |= ask_table(catalogue, &catalogue->items[i]);
        *ret_is_whole &= catalogue->items[i].is_settled;
    }
    if (is_changed)
        list(catalogue);
    return &catalogue->inventory;
}

int shard_catalogue_find(struct shard_catalogue *catalogue, const char *name, uint64_t content_hash,
                         uint32_t *ret_shard)
{
    const struct catalogued *item = find(catalogue, name);
    if (item == NULL || (content_hash != 0 && content_hash != item->shard.content_hash))
        return 0;
    *ret_shard = item->id;
    return 1;
}

struct open_shard *shard_catalogue_use(struct shard_catalogue *catalogue, uint32_t shard)
{
    struct shard_trouble trouble;
    struct open_shard *open = shard_table_use(&catalogue->table, shard);
    if (open == NULL || shard_table_state(&catalogue->table, open, &trouble) == SHARD_OPEN)
        return open;
    atomic_fetch_sub(&open->use_count, 1);
    return NULL;
}

void shard_catalogue_give(struct shard_catalogue *catalogue, struct open_shard *open)
{
    if (atomic_load(&open->is_faulty))
        shard_table_fault(&catalogue->table, open);
    atomic_fetch_sub(&open->use_count, 1);
}

enum status shard_catalogue_start(const char *const *stores, int count,
                                  struct shard_catalogue **ret_catalogue)
{
    enum status status = OK;
    struct store *lists = NULL;
    struct shard_catalogue *catalogue = mem_zero(sizeof(*catalogue));
    catalogue->store_count = count;
    catalogue->stores = mem_array((size_t)count, sizeof(*catalogue->stores));
    for (int i = 0; i < count; i++)
        catalogue->stores[i] = mem_string(stores[i]);
    pthread_mutex_init(&catalogue->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&catalogue->stopping, &monotonic);
    pthread_condattr_destroy(&monotonic);
    status = shard_table_start(&catalogue->table, 1, NULL);
    for (int i = 0; i < count && status == OK; i++) {
        status = store_require(stores[i]);
        if (status == OK)
            status = fs_require_local(stores[i]);
    }
    TRY_OUT(status);
    TRY_OUT(scan(catalogue, &lists));
    take_over(catalogue, lists);
    TRY_OUT(thread_start(&catalogue->scanner, "scan", scanner_run, catalogue));
    *ret_catalogue = catalogue;
    catalogue = NULL; /* given to the caller */
out:
    if (lists != NULL) {
        for (int i = 0; i < count; i++)
            store_done(&lists[i]);
        mem_free(lists);
    }
    shard_catalogue_stop(catalogue);
    return status;
}

void shard_catalogue_stop(struct shard_catalogue *catalogue)
{
    if (catalogue == NULL)
        return;
    pthread_mutex_lock(&catalogue->lock);
    catalogue->is_stopping = 1;
    pthread_cond_broadcast(&catalogue->stopping);
    pthread_mutex_unlock(&catalogue->lock);
    thread_stop(&catalogue->scanner);
    for (uint32_t i = 0; i < catalogue->count; i++)
        let_go(catalogue, &catalogue->items[i]);
    mem_free(catalogue->items);
    shard_table_stop(&catalogue->table);
    free_lists(catalogue, catalogue->found);
    inventory_done(&catalogue->inventory);
    for (int i = 0; i < catalogue->store_count; i++)
        mem_free(catalogue->stores[i]);
    mem_free(catalogue->stores);
    pthread_cond_destroy(&catalogue->stopping);
    pthread_mutex_destroy(&catalogue->lock);
    mem_free(catalogue);
}
