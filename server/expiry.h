/* expiry.h - a living stream refreshes itself: what is old, or too much, goes.
 *
 * Only *living* shards expire: those that `seer ingest --watch` or `--living` wrote, as their
 * manifests say. What was ingested by hand stays until somebody retires it. A shard expires by age,
 * or, the oldest first, while the living ones together have more bytes than they may; the newest of
 * them never goes for its bytes. To expire is to be retired, as by an operator. A living shard that
 * is retired, by whomever, and that nobody can need any more is *surplus*: its files may go.
 *
 * The policy is the config's, or what an operator ordered since (JOURNAL_POLICY). When shards were
 * made and how large they are is told by the store with each find; a server that starts again is
 * told again. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_EXPIRY_H
#define SERVER_EXPIRY_H

#include <stdint.h>

#include "common/config.h"
#include "server/stream.h"

struct stream_policy {
    int64_t max_age_days;  /* 0: none is too old */
    uint64_t max_bytes;    /* 0: never too much */
    uint32_t is_repeating; /* at the end of all images another pass begins; 0: wait for new ones */
    uint32_t is_unlinking; /* the server removes the files of what is surplus */
};

struct expiry_fact {
    int64_t created_ms; /* since 1970, UTC */
    uint64_t bytes;     /* of its file */
    int is_living;
};

/* As a config that was checked says it. */
struct stream_policy stream_policy_of(const struct config *config);
/* Which live shards have expired: ids into ret_ids [stream_shard_count], the oldest first; returns
 * how many. facts: [fact_count] by id; shards beyond are not living. wall_ms: since 1970, UTC. */
uint32_t expiry_choose(const struct stream *stream, const struct expiry_fact *facts,
                       uint32_t fact_count, const struct stream_policy *policy, int64_t wall_ms,
                       uint32_t *ret_ids);

struct coordinator;

/* What the store says of a shard that is known. */
void expiry_note(struct coordinator *c, uint32_t shard, const struct expiry_fact *fact);
/* Retires what has expired by now. */
void expiry_check(struct coordinator *c, int64_t wall_ms);
/* An operator's word; the same one again is fine. */
void expiry_order(struct coordinator *c, const struct stream_policy *policy, const char *reason);
/* From now on this holds: of an order, or of the journal. */
void expiry_take(struct coordinator *c, const struct stream_policy *policy);

#endif
