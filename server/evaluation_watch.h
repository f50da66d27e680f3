/* evaluation_watch.h - sees results of `seer eval` that appear beside the run.
 *
 * Looks at the time of the folder RUN/evals, which changes with every file that is renamed into it,
 * and at files only then. Times are coarse, so a file is known by name, inode, size and time, and a
 * folder that has just changed is read again. What was there before the run's last event was told
 * by an earlier start, or before there was a run to tell it to. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_EVALUATION_WATCH_H
#define SERVER_EVALUATION_WATCH_H

#include <stdint.h>

#include "server/evaluation.h"

struct evaluation_watch {
    int64_t folder_ns; /* its time when it was last read; 0: never */
    int64_t start_ns;  /* at the first look files up to this time are known */
    uint32_t count;
    uint64_t *known; /* [count] hashes of those seen */
};

/* Before anything is written into the run's folder by this start. */
void evaluation_watch_init(struct evaluation_watch *watch, const char *directory);
void evaluation_watch_done(struct evaluation_watch *watch);
/* Tells each row that is new; what cannot be read is passed over. */
void evaluation_watch_look(struct evaluation_watch *watch, const char *directory,
                           void (*tell)(void *context, const struct evaluation *row),
                           void *context);

#endif
