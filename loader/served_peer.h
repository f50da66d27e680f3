/* served_peer.h - the workers that a shard server serves: who each one is and what it waits for.
 *
 * For shard_server.h's one thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SERVED_PEER_H
#define LOADER_SERVED_PEER_H

#include <stdint.h>

#include "loader/read_queue.h"
#include "proto/endpoint.h"

enum {
    SERVED_PEERS_MAX = 4096,
    SERVED_PEER_SILENT_MS = 30000, /* workers say something every PEER_SIGN_MS */
};

struct served_peer {
    struct peer peer;
    char *name;               /* as it greets */
    char key[KEY_TEXT_BYTES]; /* its public one; "": the server has no gate */
    struct read_queue queue;
    int64_t heard_ms;
    int is_gone; /* to be let go of at the end of the turn */
    uint64_t records_sent, bytes_sent;
};

struct served_peers {
    uint32_t count;
    struct served_peer *items[SERVED_PEERS_MAX]; /* owned */
};

struct served_peer *served_peers_find(const struct served_peers *peers, const struct peer *peer);
/* One that greets, with an empty queue: new, or known and begins anew. NULL: there are
 * SERVED_PEERS_MAX. */
struct served_peer *served_peers_greet(struct served_peers *peers, const struct peer *peer,
                                       const char *name);
/* Lets go of those that have gone, or are silent at now_ms. */
void served_peers_sweep(struct served_peers *peers, int64_t now_ms);
/* Lets go of all. */
void served_peers_done(struct served_peers *peers, const char *why);

#endif
