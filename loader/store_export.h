/* store_export.h - takes images out of a store, as the files they came in. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_STORE_EXPORT_H
#define LOADER_STORE_EXPORT_H

#include <stdint.h>

#include "common/status.h"
#include "loader/record.h"

struct store_export;

/* format: "tar", "dir" or "lsun"; to: a path where nothing is yet, or "-" for a tar on stdout.
 * ERR_INPUT, ERR_IO. */
enum status store_export_open(const char *format, const char *to, struct store_export **ret_export);
/* shard: the name of its shard, index: within it. */
enum status store_export_add(struct store_export *export, const char *shard, uint32_t index,
                             const struct record *record);
/* Makes it complete. Whatever the outcome, *export is gone. */
enum status store_export_finish(struct store_export **export);
/* Gives up: removes what was made. NULL is fine. */
void store_export_destroy(struct store_export *export);

#endif
