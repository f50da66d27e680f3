/* thread.h - named threads that are always joined. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_THREAD_H
#define COMMON_THREAD_H

#include <pthread.h>

#include "common/status.h"

struct thread {
    pthread_t handle;
    int is_running; /* started and not yet joined; touched by the owner only */
};

/* Starts run(argument) in a thread called name (at most 15 characters, shown by top -H and gdb).
 * All signals are blocked in it: the main thread alone handles signals. */
enum status thread_start(struct thread *thread, const char *name, void (*run)(void *argument),
                         void *argument);
/* Waits for its end; a thread that was never started or is joined already is fine. Blocks. */
void thread_stop(struct thread *thread);

#endif
