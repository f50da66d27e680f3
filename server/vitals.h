/* vitals.h - figures of the server's own health for the status feed: time used well, disk,
 * snapshot.
 *
 * One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_VITALS_H
#define SERVER_VITALS_H

#include <stdint.h>

#include "server/journal_record.h"

struct vitals {
    int64_t started_ms; /* clock_ms of this start */
    int64_t trained_ms; /* in committed steps since; a restore that voids them does not take it back
                         */
    uint64_t disk_free_bytes, disk_total_bytes; /* where the run's folder is; 0, 0: not known */
    char snapshot[JOURNAL_NAME_BYTES];          /* of which this is the time: */
    int64_t snapshot_wall_ms;                   /* 0: there is none */
};

void vitals_init(struct vitals *vitals, int64_t now_ms);
void vitals_step(struct vitals *vitals, const struct journal_step *step);
/* Looks at the disk of directory and, when it is another than before, at the file of the newest
 * snapshot. One or two calls of stat on the disk that the journal is committed to anyway. */
void vitals_look(struct vitals *vitals, const char *directory, const char *snapshot);

#endif
