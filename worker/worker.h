/* worker.h - the training daemon: one process, one device, one place in the group. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include "common/options.h"
#include "common/status.h"

struct worker_options {
    const char *server;                /* ZeroMQ address */
    const char *key;                   /* file of the key to show to it; NULL: none */
    const char *device;                /* "cpu", "cuda:N" */
    const char *name;                  /* "" = of host and pid */
    int threads;                       /* of the cpu device */
    const char *journal;               /* folder for its own record of what it did; NULL: none */
    const struct option_list *loaders; /* addresses of shard servers beside those of data.loaders */
};

/* Trains until the server dismisses it or a signal drains it; the calling thread becomes the
 * training thread. *ret_exit_code: 0 dismissed, 1 refused for good, 70 sent away but welcome again
 * in a new process. A failure of device, config or memory is a status; a thread that hangs, a
 * second signal and a config that cannot be used end the process from within (docs/contract.md). */
enum status worker_run(const struct worker_options *options, int *ret_exit_code);

#endif
