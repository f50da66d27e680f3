/* learning_watch.c - a thread that makes figures of learning (learning.h) from samples of steps. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/learning_watch.h"

#include <sys/resource.h>

#include "common/log.h"

enum { NICENESS = 19 };

static void keep(struct learning_watch *watch, const struct message_learning *figures)
{
    pthread_mutex_lock(&watch->lock);
    watch->figures = *figures;
    watch->has_figures = 1;
    pthread_mutex_unlock(&watch->lock);
}

static void watch_run(void *argument)
{
    struct learning_watch *watch = argument;
    void *item = NULL;
    setpriority(PRIO_PROCESS, 0, NICENESS); /* on Linux this is the thread's own */
    while (queue_pop(watch->samples, -1, &item) == OK) {
        struct learning_sample *sample = item;
        struct message_learning figures;
        if (watch->learning.prototypes == 0)
            learning_init(&watch->learning, sample->prototypes, sample->embedding);
        learning_add(&watch->learning, sample, &figures);
        learning_sample_destroy(sample);
        keep(watch, &figures);
    }
}

void learning_watch_start(struct learning_watch *watch)
{
    *watch = (struct learning_watch){.samples = queue_create(1)};
    pthread_mutex_init(&watch->lock, NULL);
    if (thread_start(&watch->thread, "learning", watch_run, watch) != OK)
        log_warn("event=no_learning_figures reason=\"%s\"", fail_message());
}

static void drop(void *item)
{
    learning_sample_destroy(item);
}

void learning_watch_stop(struct learning_watch *watch)
{
    if (watch->samples == NULL)
        return;
    queue_close(watch->samples);
    thread_stop(&watch->thread);
    queue_destroy(watch->samples, drop);
    learning_done(&watch->learning);
    pthread_mutex_destroy(&watch->lock);
    *watch = (struct learning_watch){0};
}

void learning_watch_look(struct learning_watch *watch, struct step *step, uint64_t number)
{
    if (number % LEARNING_STEPS != 0 || queue_count(watch->samples) > 0)
        return;
    void *item = step_sample(step);
    if (queue_push(watch->samples, &item, 0) != OK)
        learning_sample_destroy(item);
}

int learning_watch_read(struct learning_watch *watch, struct message_learning *ret_figures)
{
    if (pthread_mutex_trylock(&watch->lock) != 0)
        return 0; /* who holds it may get no core for long, and a heartbeat must not wait */
    const int has = watch->has_figures;
    if (has)
        *ret_figures = watch->figures;
    pthread_mutex_unlock(&watch->lock);
    return has;
}
