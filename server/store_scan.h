/* store_scan.h - finds the shards in the run's stores, and those that are sealed later.
 *
 * One thread at a time. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_STORE_SCAN_H
#define SERVER_STORE_SCAN_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "loader/store.h"

struct store_scan;

/* ERR_INPUT: one of data.stores is no store; ERR_IO. No shard is looked at yet. */
enum status store_scan_create(const struct config *config, struct store_scan **ret_scan);
void store_scan_destroy(struct store_scan *scan); /* NULL is fine */
/* Calls found for every shard that no earlier call reported; its path is absolute. A shard whose
 * manifest is damaged is logged and left out. A store that cannot be read now is logged, once, and
 * tried again. Cheap when nothing changed since two looks; else reads all manifests, and blocks on
 * that. Looks are further apart than the ticks of the clock that stamps folders. */
void store_scan_run(struct store_scan *scan,
                    void (*found)(void *context, const struct store_shard *shard), void *context);

#endif
