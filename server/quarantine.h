/* quarantine.h - which records could not be decoded, by shard: each counted once, however often it
 * is met.
 *
 * Follows from the journal's steps, so a server that starts again knows the same. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_QUARANTINE_H
#define SERVER_QUARANTINE_H

#include <stdint.h>

#include "proto/message.h"

enum {
    QUARANTINE_REASON_BYTES = 128,
    QUARANTINE_RECORDS_MAX = 1 << 16, /* told apart; beyond, one that is met again counts again */
};

struct quarantine_shard {
    uint32_t records;
    char reason[QUARANTINE_REASON_BYTES]; /* of the latest; "" = none */
};

struct quarantine {
    uint32_t count, capacity;
    uint64_t *keys; /* [count] sorted: shard, then record; owned */
    uint32_t shard_count;
    struct quarantine_shard *shards; /* [shard_count] by id; owned */
    uint64_t records;                /* of all shards */
};

void quarantine_done(struct quarantine *quarantine);
/* What a step's votes said. */
void quarantine_note(struct quarantine *quarantine, const struct message_skip *skips,
                     uint32_t count);
/* Of one shard; borrowed until the next note. */
struct quarantine_shard quarantine_of(const struct quarantine *quarantine, uint32_t shard);

#endif
