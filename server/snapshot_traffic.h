/* snapshot_traffic.h - snapshots' parts on their way in, their bytes on the way out.
 *
 * The loop judges and answers; the disk's lane for snapshots reads and writes. A part is
 * acknowledged once it is written, which is what keeps workers from sending faster than the disk
 * takes: each has a few parts under way (worker/snapshot_push.h), so what waits here is bounded by
 * the number of members. Loop thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SNAPSHOT_TRAFFIC_H
#define SERVER_SNAPSHOT_TRAFFIC_H

#include <stdint.h>

#include "proto/message.h"
#include "server/journal_record.h"

struct action;
struct server;

struct snapshot_traffic {
    char expected[JOURNAL_NAME_BYTES]; /* parts of any other are not looked at; "" = of all */
    uint64_t step;                     /* of the expected one: a name may be taken again */
    uint32_t lineage;
    char troubled[JOURNAL_NAME_BYTES]; /* cannot be read at the moment; "" = none */
    enum status trouble;               /* why, */
    int64_t trouble_ms;                /* and since when */
    uint32_t part_limit;               /* as many of its parts may wait to be written */
    uint32_t part_count, read_count;   /* under way in the lane */
};

/* From now on parts of the action's snapshot are taken. Failures become COORDINATOR_SNAPSHOT_FAILED
 * later. */
void snapshot_traffic_expect(struct server *server, const struct action *action);
/* No longer; what came of it is removed. */
void snapshot_traffic_drop(struct server *server, const char *name);
/* Removes the action's snapshot, then answers the operator who asked for it. */
void snapshot_traffic_remove(struct server *server, const struct action *action);
/* It is not removed, though that was asked: it may be pinned again. */
void snapshot_traffic_keep(struct server *server, const char *name);
/* Takes what a SNAPSHOT_PART owns and leaves it empty. */
void snapshot_traffic_part(struct server *server, uint64_t connection, struct message *message);
/* Answers a SNAPSHOT_READ; with a part of nothing (total 0) if there is no such snapshot or it is
 * damaged; not at all if that cannot be told now. */
void snapshot_traffic_read(struct server *server, uint64_t connection, struct message *message);

#endif
