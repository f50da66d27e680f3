/* shard_watch.h - looks for new shards in the background, and removes the files of expired ones.
 *
 * A look may take long (a foreign shard is read whole), and a first look may find thousands: so it
 * runs in the disk's lane for stores, and its finds are handed on a few in a turn of the loop, each
 * being a durable record. A shard that the coordinator calls surplus is renamed to a name that
 * starts with a dot, so that nobody who lists the store sees half of it, and then removed. Loop
 * thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SHARD_WATCH_H
#define SERVER_SHARD_WATCH_H

#include <stdint.h>

#include "common/status.h"
#include "server/expiry.h"

struct server;

struct shard_found {
    char *path; /* absolute; owned */
    uint64_t records;
    uint64_t content_hash; /* 0: its store does not say */
    struct expiry_fact fact;
};

struct shard_watch {
    int is_looking;
    uint32_t count, next;      /* found, and told so far */
    struct shard_found *found; /* [count]; owned */
    uint32_t unlinked_count;   /* size of is_unlinked */
    uint8_t *is_unlinked;      /* by id: its removal was begun by this process; owned */
    int64_t newest_ms;         /* when the newest of all told was sealed, wall clock; 0: none */
};

/* Forgets what was found. A look that is under way goes on, and none begins beside it: the finds of
 * two would fall into one another's place. */
void shard_watch_done(struct shard_watch *watch);
/* Begins a look, unless one is under way or its finds are not all told yet. */
void shard_watch_look(struct server *server);
/* Tells of some that were found. 1: there are more. */
int shard_watch_tell(struct server *server);
/* Lets shards expire, and begins to remove what is surplus. Now and then. */
void shard_watch_expire(struct server *server);
/* What a store says of one shard, for who adds it by its path. ERR_INPUT, ERR_CORRUPT, ERR_IO. */
enum status shard_watch_read(const char *path, struct shard_found *ret_found);
void shard_found_done(struct shard_found *found);

#endif
