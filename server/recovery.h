/* recovery.h - the journal read back, and going on where it ends. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_RECOVERY_H
#define SERVER_RECOVERY_H

#include "server/core.h"

/* coordinator_restore, with its errors. */
enum status recovery_restore(struct coordinator *c, const struct journal_record *record);
/* After a restart: a worker said Hello; `generation` is the one it is formed in. */
void recovery_note_hello(struct coordinator *c, struct worker *worker, uint64_t generation);
/* After a restart: if this member of the last generation holds the step after the journal's last,
 * and brings the record of the verdict that led there, then the journal lost it with its host: it
 * is taken up again, and said so in the event log. */
void recovery_hear(struct coordinator *c, const struct worker *worker,
                   const struct message_hello *hello);
/* After a restart: has the processes of the last generation watched: who died meanwhile is not
 * waited for. */
void recovery_watch(struct coordinator *c);
/* After a restart: this member of the last generation, if it is one, will not come back. */
void recovery_note_loss(struct coordinator *c, uint64_t worker);
/* The same of one that has not been heard of since; says so in the event log. */
void recovery_note_death(struct coordinator *c, uint64_t worker);
/* After a restart: the last generation's helpers have ended, so it cannot go on. */
void recovery_note_helpers_end(struct coordinator *c);
/* After a restart: goes on with the last generation when all its members are back in it, gives it
 * up when that cannot be or has taken too long. */
void recovery_try(struct coordinator *c);
/* Nobody holds the present step any more: back to a snapshot, or (NULL) to the beginning. 0: not in
 * this life of the server, which is told to begin again. */
int recovery_roll_back(struct coordinator *c, const struct journal_snapshot *to);

#endif
