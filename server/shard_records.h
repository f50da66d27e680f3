/* shard_records.h - what becomes of shards: found, retired, broken, closed.
 *
 * A shard is known from its record in the journal on, and never forgotten. A *retired* one is
 * passed over beyond what is planned. A *broken* one cannot be read by those who train: it is
 * retired too, and from the step on that is the present one when the journal says so, its records
 * count as bad for every member alike; plans that say otherwise are void. A retired shard that no
 * step can need, planned, to be planned or after a restore, is *closed*: workers are told to let it
 * go.
 *
 * One worker that cannot read a shard may be at fault itself. What it has read and found damaged
 * counts at once. What it cannot reach counts if nobody else is there who can: all others have
 * CORE_SHARD_JURY_MS to say the same; if one of them does not, it is the worker that is sent away.
 * So is one that can read no shard at all, which is its mount and not the shards. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SHARD_RECORDS_H
#define SERVER_SHARD_RECORDS_H

#include "server/core.h"

/* Of a known path only the hash is noted, if it was not known; that it is another one, or an
 * unusable number of records, is an event. */
void shard_records_found(struct coordinator *c, const char *path, uint64_t records,
                         uint64_t content_hash);
/* 0: there is none. Begins with the one found last, since whoever looks through a store comes upon
 * its shards in the same order each time. */
int shard_records_find(struct coordinator *c, const char *path, uint32_t *ret_id);
/* By path, or by number as `seer stream ls` shows it; again is fine. ERR_INPUT: no such shard. */
enum status shard_records_retire(struct coordinator *c, const char *word, const char *reason);
/* Retires this one, which is live, and says why. What it closes is for shard_records_release. */
void shard_records_take_out(struct coordinator *c, uint32_t shard, const char *reason);
/* A worker cannot read one. The worker may be gone from the roster afterwards. */
void shard_records_unreadable(struct coordinator *c, struct worker *worker,
                              const struct message_shard_unreadable *unreadable);
/* Time has passed: whoever stands alone with what it said is sent away. */
void shard_records_check(struct coordinator *c);
/* What this worker said does not count any more. */
void shard_records_forget_worker(struct coordinator *c, uint64_t worker);
/* Can a step need it? Live ones always count as needed. */
int shard_records_is_needed(const struct coordinator *c, uint32_t id);
/* A server starts: what the one before has closed, or would have by now, is closed, and no news.
 * There may be thousands. */
void shard_records_start(struct coordinator *c);
/* Closes what no step can need any more. */
void shard_records_release(struct coordinator *c);
/* After a rollback for which no snapshot was left: what was closed may be needed again. */
void shard_records_reopen(struct coordinator *c);
/* Tells a worker of all shards from this id on. */
void shard_records_send(struct coordinator *c, const struct worker *worker, uint32_t from);

/* From the journal. ERR_CORRUPT for what cannot follow what came before. */
enum status shard_records_restore(struct coordinator *c, const struct journal_shard *shard);
enum status shard_records_restore_retired(struct coordinator *c,
                                          const struct journal_retire *retire);
void shard_records_done(struct coordinator *c);

#endif
