/* learning_watch.h - a thread that makes figures of learning (learning.h) from samples of steps.
 *
 * The training thread takes a sample between its vote and the verdict, when it would wait anyway,
 * and waits for nothing: while the thread is busy no sample is taken. The thread runs at the lowest
 * priority. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_LEARNING_WATCH_H
#define WORKER_LEARNING_WATCH_H

#include <pthread.h>

#include "common/queue.h"
#include "common/thread.h"
#include "worker/learning.h"
#include "worker/step.h"

struct learning_watch {
    struct thread thread;
    struct queue *samples;    /* struct learning_sample, train to here; room for one */
    struct learning learning; /* the thread's; begins with the first sample */
    pthread_mutex_t lock;     /* guards what follows */
    int has_figures;
    struct message_learning figures;
};

/* Without a thread nothing is told; the log says so. */
void learning_watch_start(struct learning_watch *watch);
void learning_watch_stop(struct learning_watch *watch);
/* The training thread's, after step_compute of step `number` and before its verdict. */
void learning_watch_look(struct learning_watch *watch, struct step *step, uint64_t number);
/* The newest figures; 0 = there are none, or just being written. Any thread; waits for nothing. */
int learning_watch_read(struct learning_watch *watch, struct message_learning *ret_figures);

#endif
