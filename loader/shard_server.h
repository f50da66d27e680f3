/* shard_server.h - serves the records of local shards to workers on other hosts.
 *
 * One thread: hears what workers ask (proto/PROTOCOL.md, "Loaders"), tells them what it holds, and
 * answers, a message for each worker in turn, so that none waits for another's backlog. What a
 * worker asks for is read ahead from disk while it waits for credit. Reading a mapped file that
 * loses bytes does not end the process (shard_fault.h). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_SERVER_H
#define LOADER_SHARD_SERVER_H

#include "common/status.h"

struct shard_server_options {
    const char *const *stores;
    int store_count;
    const char *listen; /* ZeroMQ address */
    const char *keys;   /* folder of its own key and of those it lets in (gate.h); NULL: none */
};

/* Serves until a signal that was blocked before, SIGTERM or SIGINT, comes in. ERR_INPUT: a store,
 * the keys or the address are none that can be used; without keys other hosts may not reach it.
 * ERR_IO. */
enum status shard_server_run(const struct shard_server_options *options);

#endif
