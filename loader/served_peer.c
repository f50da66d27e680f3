/* served_peer.c - a list of them, and the log's lines about who came and went. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/served_peer.h"

#include "common/log.h"
#include "common/mem.h"

struct served_peer *served_peers_find(const struct served_peers *peers, const struct peer *peer)
{
    for (uint32_t i = 0; i < peers->count; i++)
        if (peer_equal(&peers->items[i]->peer, peer))
            return peers->items[i];
    return NULL;
}

struct served_peer *served_peers_greet(struct served_peers *peers, const struct peer *peer,
                                       const char *name)
{
    struct served_peer *found = served_peers_find(peers, peer);
    if (found == NULL && peers->count == SERVED_PEERS_MAX)
        return NULL;
    if (found == NULL) {
        found = mem_zero(sizeof(*found));
        found->peer = *peer;
        peers->items[peers->count++] = found;
        log_info("event=worker_came worker=\"%s\"", name);
    }
    read_queue_done(&found->queue);
    mem_free(found->name);
    found->name = mem_string(name);
    found->is_gone = 0;
    return found;
}

static void let_go(struct served_peers *peers, const char *why, uint32_t i)
{
    struct served_peer *peer = peers->items[i];
    log_info("event=worker_gone worker=\"%s\" records=%llu bytes=%llu reason=\"%s\"", peer->name,
             (unsigned long long)peer->records_sent, (unsigned long long)peer->bytes_sent, why);
    read_queue_done(&peer->queue);
    mem_free(peer->name);
    mem_free(peer);
    peers->items[i] = peers->items[--peers->count];
}

void served_peers_sweep(struct served_peers *peers, int64_t now_ms)
{
    for (uint32_t i = peers->count; i-- > 0;) {
        if (peers->items[i]->is_gone)
            let_go(peers, "its connection ended", i);
        else if (now_ms - peers->items[i]->heard_ms > SERVED_PEER_SILENT_MS)
            let_go(peers, "it is silent", i);
    }
}

void served_peers_done(struct served_peers *peers, const char *why)
{
    while (peers->count > 0)
        let_go(peers, why, peers->count - 1);
}
