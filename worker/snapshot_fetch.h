/* snapshot_fetch.h - reads a snapshot from the server into the state, part by part.
 *
 * Training thread; the link carries questions and answers. A part that does not come is asked for
 * again; nothing for FETCH_PATIENCE_MS ends it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SNAPSHOT_FETCH_H
#define WORKER_SNAPSHOT_FETCH_H

#include "worker/handover.h"
#include "worker/state.h"

/* Blocks. ERR_STALE: the job was abandoned; ERR_TIMEOUT; ERR_CORRUPT, ERR_INPUT: the file. The
 * state is undefined after a failure. */
enum status snapshot_fetch(struct handover *handover, const struct job *job, const char *name,
                           uint64_t step, struct state *state);

#endif
