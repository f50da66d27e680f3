/* process_watch.h - tells at once when a worker's process on this host ends.
 *
 * By pidfd: the loop polls items[].process. Loop thread; nothing blocks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_PROCESS_WATCH_H
#define SERVER_PROCESS_WATCH_H

#include <stdint.h>

#include "common/status.h"
#include "server/roster.h"

/* All of a roster; while a run recovers, the members of before as well, who may not be in it. */
enum { PROCESS_WATCH_MAX = 2 * ROSTER_MAX };

struct watched_process {
    uint64_t worker;
    int process; /* pidfd: readable when it has ended */
};

struct process_watch {
    uint32_t count, capacity;      /* at most PROCESS_WATCH_MAX */
    struct watched_process *items; /* owned */
};

void process_watch_init(struct process_watch *watch);
void process_watch_done(struct process_watch *watch);
/* In place of what was watched for this worker. ERR_END: there is no such process any more.
 * ERR_IO: it cannot be watched, or too many are; heartbeats tell of its end too, only later. */
enum status process_watch_add(struct process_watch *watch, uint64_t worker, uint32_t pid);
void process_watch_remove(struct process_watch *watch, uint64_t worker); /* absent is fine */

#endif
