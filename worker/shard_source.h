/* shard_source.h - from where a worker has its shards, and what people hear of it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SHARD_SOURCE_H
#define WORKER_SHARD_SOURCE_H

#include "common/config.h"
#include "common/options.h"
#include "common/status.h"
#include "loader/loader.h"

/* Adds a worker's own shard servers to data.loaders; own may be NULL. ERR_INPUT: too many. */
enum status shard_source_add(struct config *config, const struct option_list *own);
/* The next trouble that the server is to hear of; 0 = none. Whatever the worker can wait for by
 * itself is logged and kept from the server, which would give up a shard for a loader's absence. */
int shard_source_trouble(struct loader *loader, struct shard_trouble *ret_trouble);

#endif
