/* shard_client.h - records of shards that are not here, from the loaders that hold them.
 *
 * A thread keeps a connection with every loader, learns what each one holds, and gets the records
 * that are asked for: planned ones ahead of their step, as far as credit allows (loader_peer.h),
 * and those a decode thread waits for before all others. A loader whose connection ends, or that
 * says nothing for CLIENT_SILENT_MS while somebody waits for it, is away: what it was asked for is
 * asked of another that holds the shard. A record that is damaged at one loader is asked of the
 * others. Which loader answers changes no bit.
 *
 * Threads: any. The words for people come out through shard_client_note, to whoever logs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_CLIENT_H
#define LOADER_SHARD_CLIENT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    CLIENT_SILENT_MS = 3000,
    CLIENT_AGAIN_MS = 1000,  /* after a connection that we closed */
    CLIENT_ABSENT_MS = 5000, /* a loader that was never there is told of */
};

struct shard_client;
struct fetch;
struct key;
struct planned_shard;

struct shard_client_setup {
    const char *worker;           /* for people */
    const struct key *key;        /* it shows to loaders that have keys; NULL: it has none */
    const char *const *addresses; /* as loader_address.h has them */
    int count;                    /* at most HOLDERS_MAX */
    /* What loaders hold has changed. Called by the client's thread, without a lock. */
    void (*changed)(void *context);
    void *context;
};

/* Copies what setup points to. Does not wait for any loader. ERR_INPUT: that is no address, or it
 * takes a key and there is none. ERR_IO. */
enum status shard_client_start(const struct shard_client_setup *setup,
                               struct shard_client **ret_client);
/* Ends the thread: from then on nothing is heard or told, and only shard_client_find and _drop are
 * for calling. NULL is fine. */
void shard_client_stop(struct shard_client *client);
/* Stopped, and all fetches dropped. NULL is fine. */
void shard_client_destroy(struct shard_client *client);
/* As holders_verdict. */
enum status shard_client_find(struct shard_client *client, const struct planned_shard *shard);
/* Asks for one record; the shard's name is borrowed until the fetch is dropped. */
struct fetch *shard_client_ask(struct shard_client *client, const struct planned_shard *shard,
                               uint32_t record);
/* Waits until it is here; its bytes live until it is dropped. ERR_CORRUPT: that record is damaged.
 * ERR_UNREACHABLE: nobody who holds the shard is there; it may be waited for again. ERR_STALE:
 * *is_void was set, and shard_client_wake called. */
enum status shard_client_wait(struct shard_client *client, struct fetch *fetch,
                              const atomic_int *is_void, const uint8_t **ret_bytes,
                              size_t *ret_length);
/* NULL is fine; leaves NULL. */
void shard_client_drop(struct shard_client *client, struct fetch **fetch);
void shard_client_wake(struct shard_client *client);
/* The next loader that came (*ret_is_there) or went, with the words for it; 0: none. */
int shard_client_note(struct shard_client *client, int *ret_is_there, char *words, size_t bytes);

#endif
