/* process_watch.c - tells at once when a worker's process on this host ends. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/process_watch.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/mem.h"

void process_watch_init(struct process_watch *watch)
{
    *watch = (struct process_watch){0};
}

void process_watch_done(struct process_watch *watch)
{
    for (uint32_t i = 0; i < watch->count; i++)
        close(watch->items[i].process);
    mem_free(watch->items);
    process_watch_init(watch);
}

enum status process_watch_add(struct process_watch *watch, uint64_t worker, uint32_t pid)
{
    process_watch_remove(watch, worker);
    if (watch->count == PROCESS_WATCH_MAX)
        return fail(ERR_IO, "cannot watch process %u: %d are watched", pid, PROCESS_WATCH_MAX);
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    if (process < 0 && errno == ESRCH)
        return fail(ERR_END, "process %u is gone", pid);
    if (process < 0)
        return fail(ERR_IO, "cannot watch process %u: %s", pid, strerror(errno));
    if (watch->count == watch->capacity) {
        watch->capacity = watch->capacity * 2 + 8;
        watch->items = mem_resize(watch->items, watch->capacity * sizeof(*watch->items));
    }
    watch->items[watch->count++] = (struct watched_process){worker, process};
    return OK;
}

void process_watch_remove(struct process_watch *watch, uint64_t worker)
{
    for (uint32_t i = 0; i < watch->count; i++) {
        if (watch->items[i].worker != worker)
            continue;
        close(watch->items[i].process);
        watch->items[i] = watch->items[--watch->count];
        return;
    }
}
