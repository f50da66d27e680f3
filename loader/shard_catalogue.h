/* shard_catalogue.h - the shards of some stores, kept up to date and open: what a shard server has.
 *
 * A thread looks through the stores whenever one has changed; shards are opened, checked and
 * watched by shard_table.h. A shard has a number for as long as its files are the same; if other
 * files come in its place, it is another one. A name that several stores have is the first one's,
 * by the order in which the stores were given. One thread calls; nothing here blocks but starting
 * and stopping. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_CATALOGUE_H
#define LOADER_SHARD_CATALOGUE_H

#include <stdint.h>

#include "common/status.h"
#include "loader/inventory.h"
#include "loader/shard_table.h"

enum { CATALOGUE_LOOK_MS = 500 /* how often a store is looked at, whether it has changed */ };

struct shard_catalogue;

/* Reads all stores once before it returns. ERR_INPUT: a path is no store, or lies on a file system
 * of another host. ERR_IO. */
enum status shard_catalogue_start(const char *const *stores, int count,
                                  struct shard_catalogue **ret_catalogue);
void shard_catalogue_stop(struct shard_catalogue *catalogue); /* NULL is fine */
/* What there is by now; call it now and then. Borrowed until the next call. *ret_is_whole: no shard
 * is still to be opened for the first time. */
const struct inventory *shard_catalogue_inventory(struct shard_catalogue *catalogue,
                                                  int *ret_is_whole);
/* The number of a shard that can be read; content_hash as well as name must be its own, but 0 is
 * any. 0 = there is none. */
int shard_catalogue_find(struct shard_catalogue *catalogue, const char *name, uint64_t content_hash,
                         uint32_t *ret_shard);
/* Open for reading, until given back; NULL: it is not there any more, or cannot be read. */
struct open_shard *shard_catalogue_use(struct shard_catalogue *catalogue, uint32_t shard);
/* is_faulty: what was read of it counts for nothing. */
void shard_catalogue_give(struct shard_catalogue *catalogue, struct open_shard *open);

#endif
