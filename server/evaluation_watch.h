/* evaluation_watch.h - sees results of `seer eval` that appear beside the run.
 *
 * Looks at the time of the folder RUN/evals, which changes with every file that is renamed into it,
 * and at new files only then. What was there before the run's last event was told by an earlier
 * start, or before there was a run to tell it to. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_EVALUATION_WATCH_H
#define SERVER_EVALUATION_WATCH_H

#include <stdint.h>

#include "server/evaluation.h"

struct evaluation_watch {
    int64_t folder_ns; /* its time when it was last read; 0: never */
    int64_t told_ns;   /* files up to this time are known */
};

/* Before anything is written into the run's folder by this start. */
void evaluation_watch_init(struct evaluation_watch *watch, const char *directory);
/* Tells each row that is new; what cannot be read is passed over. */
void evaluation_watch_look(struct evaluation_watch *watch, const char *directory,
                           void (*tell)(void *context, const struct evaluation *row),
                           void *context);

#endif
