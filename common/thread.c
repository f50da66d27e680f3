/* thread.c - named threads that are always joined. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/thread.h"

#include <signal.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"

struct start {
    void (*run)(void *argument);
    void *argument;
    char name[16]; /* the kernel's limit, with its 0 */
};

static void *thread_main(void *argument)
{
    struct start start = *(struct start *)argument;
    mem_free(argument);
    pthread_setname_np(pthread_self(), start.name);
    start.run(start.argument);
    return NULL;
}

enum status thread_start(struct thread *thread, const char *name, void (*run)(void *argument),
                         void *argument)
{
    struct start *start = mem_zero(sizeof(*start));
    start->run = run;
    start->argument = argument;
    strncpy(start->name, name, sizeof(start->name) - 1);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread->handle, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        mem_free(start);
        return fail(ERR_IO, "cannot start thread '%s': %s", name, strerror(error));
    }
    thread->is_running = 1;
    return OK;
}

void thread_stop(struct thread *thread)
{
    if (!thread->is_running)
        return;
    CHECK(pthread_join(thread->handle, NULL) == 0);
    thread->is_running = 0;
}
