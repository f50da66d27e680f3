/* inventory.h - which shards a shard server holds, as it says and as workers understand it.
 *
 * A sorted list by name. The shard server keeps the one that it told last and tells the difference
 * to the present one; a worker keeps one for every loader and applies what it hears. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_INVENTORY_H
#define LOADER_INVENTORY_H

#include <stdint.h>

#include "proto/loader_message.h"

enum { INVENTORY_SHARDS_MAX = 1 << 20 };

struct inventory {
    uint32_t count, capacity;
    struct loader_shard *items; /* [count], sorted by name, none GONE; owned with their texts */
};

void inventory_done(struct inventory *inventory);
/* Adds a copy, in place of one of that name. ERR_PROTOCOL past INVENTORY_SHARDS_MAX. */
enum status inventory_put(struct inventory *inventory, const struct loader_shard *shard);
void inventory_remove(struct inventory *inventory, const char *name); /* unknown is fine */
const struct loader_shard *inventory_find(const struct inventory *inventory, const char *name);
/* Applies what a loader said. ERR_PROTOCOL past INVENTORY_SHARDS_MAX. */
enum status inventory_hear(struct inventory *inventory, const struct loader_inventory *said);
/* What turns `told` into `present`: calls say for each shard that is new, other or (as GONE) no
 * more, in order of names; what it is given is borrowed for the call. */
void inventory_compare(const struct inventory *told, const struct inventory *present,
                       void (*say)(void *context, const struct loader_shard *shard), void *context);

#endif
