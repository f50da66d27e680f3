/* snapshot_records.h - the complete snapshots that a restore may use, and how they stop being so.
 *
 * A record names one file of one step. It is journaled when the file is complete; that it is to be
 * removed is journaled before the file is, and the parameter store lets nobody pin it from before
 * that (parameter_store_claim), so what the journal offers for a restore is there, unless somebody
 * took it out of the folder by hand: then the restore notices and takes the next older one. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SNAPSHOT_RECORDS_H
#define SERVER_SNAPSHOT_RECORDS_H

#include "server/core.h"

/* Journals that the run, which has not begun, begins with SNAPSHOT_INITIAL. It is what step 0 means
 * from then on, no snapshot to go back to like others: nothing of the stream is kept for it, and
 * neither retention nor an operator removes it. */
void snapshot_records_begin(struct coordinator *c);

/* The newest; NULL = none. */
const struct journal_snapshot *snapshot_records_newest(const struct coordinator *c);
/* Takes note of one; an older one of the same name is forgotten, for its file is another by now. */
void snapshot_records_add(struct coordinator *c, const struct journal_snapshot *snapshot);
/* As if it had never been; unknown names are fine. */
void snapshot_records_forget(struct coordinator *c, const char *name);
/* An operator wants it removed; who asked is answered once it is. ERR_STALE: a restore reads it. */
enum status snapshot_records_remove(struct coordinator *c, const char *name, const char *reason,
                                    uint64_t connection, uint64_t request);
/* Retention does not keep it. Stays all the same: the newest, and one that a restore reads. */
void snapshot_records_release(struct coordinator *c, const char *name);
/* A file became complete that nobody waits for any more: it is removed. */
void snapshot_records_discard(struct coordinator *c, const char *name);
/* Its file is missing or damaged: not used in this life of the server any more. */
void snapshot_records_gone(struct coordinator *c, const char *name, const char *reason);

#endif
