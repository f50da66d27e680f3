/* finetune_workers.h - finetuning as one process, or as several of this host that share the work.
 *
 * Several are child processes with a device each, joined by the mpi engine (collective.h), as the
 * members of a run are; here one that ends ends all. Call from a program without threads. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_FINETUNE_WORKERS_H
#define WORKER_EVAL_FINETUNE_WORKERS_H

#include "worker/eval/finetune.h"

struct finetune_work {
    const char *program; /* for messages */
    struct trial *trial; /* its stores are open, its device is not */
    const struct finetune_rule *rule;
    int workers;
    /* What each of them does, in its own process; messages of a failure are printed there. */
    enum status (*run)(struct finetune *finetune, void *argument);
    void *argument;
};

/* Blocks until all have ended. Returns the exit code of the program. */
int finetune_work_run(const struct finetune_work *work);

#endif
