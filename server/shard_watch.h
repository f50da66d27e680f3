/* shard_watch.h - looks for new shards in the background and tells the coordinator of them.
 *
 * A look may take long (a foreign shard is read whole), and a first look may find thousands: so it
 * runs in the disk's lane for stores, and its finds are handed on a few in a turn of the loop, each
 * being a durable record. Loop thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SHARD_WATCH_H
#define SERVER_SHARD_WATCH_H

#include <stdint.h>

struct server;

struct shard_found {
    char *path; /* absolute; owned */
    uint64_t records;
};

struct shard_watch {
    int is_looking;
    uint32_t count, next;      /* found, and told so far */
    struct shard_found *found; /* [count]; owned */
};

/* Forgets what was found. A look that is under way goes on, and none begins beside it: the finds of
 * two would fall into one another's place. */
void shard_watch_done(struct shard_watch *watch);
/* Begins a look, unless one is under way or its finds are not all told yet. */
void shard_watch_look(struct server *server);
/* Tells of some that were found. 1: there are more. */
int shard_watch_tell(struct server *server);

#endif
