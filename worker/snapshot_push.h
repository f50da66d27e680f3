/* snapshot_push.h - sends the copied share of a snapshot in parts, a few at a time.
 *
 * A newer share replaces an unfinished one: the server has dropped that snapshot. Link thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SNAPSHOT_PUSH_H
#define WORKER_SNAPSHOT_PUSH_H

#include "proto/message.h"
#include "worker/snapshot_file.h"

struct snapshot_push {
    struct snapshot_share *share; /* owned; NULL: nothing to do */
    uint32_t part_count, acknowledged_count, flying_count;
    uint8_t *states; /* [part_count] enum part_state; owned */
};

void snapshot_push_done(struct snapshot_push *push);
/* Takes the share. */
void snapshot_push_start(struct snapshot_push *push, struct snapshot_share **share);
/* The next part to send now; 0: none. Borrows from the share until the next call. */
int snapshot_push_next(struct snapshot_push *push, struct message_snapshot_part *ret_part);
/* The part that snapshot_push_next gave last could not be sent: it waits again. */
void snapshot_push_put_back(struct snapshot_push *push, const struct message_snapshot_part *part);
/* message: a SNAPSHOT_ACK. One for another snapshot, also for another of this name, is nothing. */
void snapshot_push_acknowledge(struct snapshot_push *push, const struct message *message);
/* Its sender leaves: a share that is not all taken is given up, which is said with the reason. */
void snapshot_push_drop(struct snapshot_push *push, const char *reason);
/* The connection is new: what flew may be lost. */
void snapshot_push_again(struct snapshot_push *push);

#endif
