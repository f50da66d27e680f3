/* store_scan.c - finds the shards in the run's stores. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/store_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/log.h"
#include "common/mem.h"
#include "loader/store.h"

struct scanned_store {
    char *path;              /* absolute */
    struct store known;      /* what was reported */
    struct timespec changed; /* of shards/ at that time */
    int is_sure;             /* it had not changed since the look before either */
    int is_unreadable;       /* and has been complained of */
};

struct store_scan {
    int count;
    struct scanned_store *stores;
};

/* Sealing a shard renames it into shards/, which changes that directory's time. */
static struct timespec time_of(const char *path)
{
    struct stat info = {0};
    char *shards = mem_format("%s/shards", path);
    if (stat(shards, &info) != 0)
        info.st_mtim = (struct timespec){0};
    mem_free(shards);
    return info.st_mtim;
}

static void say_damaged(void *context, const char *reason)
{
    const struct scanned_store *store = context;
    log_warn("event=shard_damaged store=%s reason=\"%s\"", store->path, reason);
}

static enum status add_store(struct store_scan *scan, const char *path)
{
    char *absolute = realpath(path, NULL);
    if (absolute == NULL)
        return fail(ERR_INPUT, "store '%s': %s; 'seer ingest' makes one", path, strerror(errno));
    enum status status = store_require(absolute);
    if (status == OK)
        scan->stores[scan->count++].path = mem_string(absolute);
    free(absolute);
    return status;
}

enum status store_scan_create(const struct config *config, struct store_scan **ret_scan)
{
    struct store_scan *scan = mem_zero(sizeof(*scan));
    scan->stores = mem_array((size_t)config->data.store_count, sizeof(*scan->stores));
    enum status status = OK;
    for (int64_t i = 0; i < config->data.store_count && status == OK; i++)
        status = add_store(scan, config->data.stores[i]);
    if (status != OK) {
        store_scan_destroy(scan);
        return status;
    }
    *ret_scan = scan;
    return OK;
}

void store_scan_destroy(struct store_scan *scan)
{
    if (scan == NULL)
        return;
    for (int i = 0; i < scan->count; i++) {
        store_done(&scan->stores[i].known);
        mem_free(scan->stores[i].path);
    }
    mem_free(scan->stores);
    mem_free(scan);
}

/* Both lists are sorted by name. */
static void report_new(const struct store *known, const struct store *present,
                       void (*found)(void *context, const struct store_shard *shard), void *context)
{
    uint32_t k = 0;
    for (uint32_t i = 0; i < present->shard_count; i++) {
        const struct store_shard *shard = &present->shards[i];
        while (k < known->shard_count && strcmp(known->shards[k].name, shard->name) < 0)
            k++;
        int is_known = k < known->shard_count && strcmp(known->shards[k].name, shard->name) == 0 &&
                       known->shards[k].content_hash == shard->content_hash;
        if (!is_known)
            found(context, shard);
    }
}

void store_scan_run(struct store_scan *scan,
                    void (*found)(void *context, const struct store_shard *shard), void *context)
{
    for (int i = 0; i < scan->count; i++) {
        struct scanned_store *store = &scan->stores[i];
        struct timespec changed = time_of(store->path);
        const int is_same =
            changed.tv_sec == store->changed.tv_sec && changed.tv_nsec == store->changed.tv_nsec;
        if (is_same && store->is_sure)
            continue;
        struct store present;
        if (store_load_sound(store->path, say_damaged, store, &present) != OK) {
            if (!store->is_unreadable)
                log_warn("event=store_unreadable store=%s reason=\"%s\"", store->path,
                         fail_message());
            store->is_unreadable = 1;
            continue;
        }
        store->is_unreadable = 0;
        report_new(&store->known, &present, found, context);
        store_done(&store->known);
        store->known = present;
        store->changed = changed;
        /* Times are coarse: a shard may have come right behind the look. */
        store->is_sure = is_same;
    }
}
