/* inventory.c - a sorted array of shards. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/inventory.h"

#include <string.h>

#include "common/mem.h"

static void item_done(struct loader_shard *item)
{
    mem_free(item->name);
    mem_free(item->reason);
}

void inventory_done(struct inventory *inventory)
{
    for (uint32_t i = 0; i < inventory->count; i++)
        item_done(&inventory->items[i]);
    mem_free(inventory->items);
    *inventory = (struct inventory){0};
}

/* The first place whose name is not below this one. */
static uint32_t lower_bound(const struct inventory *inventory, const char *name)
{
    uint32_t low = 0, high = inventory->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (strcmp(inventory->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int is_at(const struct inventory *inventory, uint32_t at, const char *name)
{
    return at < inventory->count && strcmp(inventory->items[at].name, name) == 0;
}

static void make_room(struct inventory *inventory, uint32_t at)
{
    if (inventory->count == inventory->capacity) {
        inventory->capacity = inventory->capacity * 2 + 16;
        inventory->items =
            mem_resize(inventory->items, inventory->capacity * sizeof(*inventory->items));
    }
    memmove(inventory->items + at + 1, inventory->items + at,
            (inventory->count - at) * sizeof(*inventory->items));
    inventory->count++;
}

enum status inventory_put(struct inventory *inventory, const struct loader_shard *shard)
{
    uint32_t at = lower_bound(inventory, shard->name);
    if (is_at(inventory, at, shard->name))
        item_done(&inventory->items[at]);
    else if (inventory->count == INVENTORY_SHARDS_MAX)
        return fail(ERR_PROTOCOL, "more than %d shards", INVENTORY_SHARDS_MAX);
    else
        make_room(inventory, at);
    inventory->items[at] = *shard;
    inventory->items[at].name = mem_string(shard->name);
    inventory->items[at].reason = mem_string(shard->reason != NULL ? shard->reason : "");
    return OK;
}

void inventory_remove(struct inventory *inventory, const char *name)
{
    uint32_t at = lower_bound(inventory, name);
    if (!is_at(inventory, at, name))
        return;
    item_done(&inventory->items[at]);
    inventory->count--;
    memmove(inventory->items + at, inventory->items + at + 1,
            (inventory->count - at) * sizeof(*inventory->items));
}

const struct loader_shard *inventory_find(const struct inventory *inventory, const char *name)
{
    uint32_t at = lower_bound(inventory, name);
    return is_at(inventory, at, name) ? &inventory->items[at] : NULL;
}

enum status inventory_hear(struct inventory *inventory, const struct loader_inventory *said)
{
    if (said->is_first)
        inventory_done(inventory);
    for (uint32_t i = 0; i < said->shard_count; i++) {
        const struct loader_shard *shard = &said->shards[i];
        if (shard->state == LOADER_SHARD_GONE)
            inventory_remove(inventory, shard->name);
        else
            TRY(inventory_put(inventory, shard));
    }
    return OK;
}

static int is_same(const struct loader_shard *a, const struct loader_shard *b)
{
    return a->state == b->state && a->records == b->records && a->bytes == b->bytes &&
           a->content_hash == b->content_hash && strcmp(a->reason, b->reason) == 0;
}

static void say_gone(const struct loader_shard *shard,
                     void (*say)(void *context, const struct loader_shard *shard), void *context)
{
    const struct loader_shard gone = {
        .name = shard->name, .state = LOADER_SHARD_GONE, .reason = shard->reason};
    say(context, &gone);
}

void inventory_compare(const struct inventory *told, const struct inventory *present,
                       void (*say)(void *context, const struct loader_shard *shard), void *context)
{
    uint32_t t = 0;
    for (uint32_t p = 0; p < present->count; p++) {
        const struct loader_shard *shard = &present->items[p];
        while (t < told->count && strcmp(told->items[t].name, shard->name) < 0)
            say_gone(&told->items[t++], say, context);
        int is_known = is_at(told, t, shard->name);
        if (!is_known || !is_same(&told->items[t], shard))
            say(context, shard);
        t += (uint32_t)is_known;
    }
    while (t < told->count)
        say_gone(&told->items[t++], say, context);
}
