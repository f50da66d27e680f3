/* watchdog.h - ends the process when one of its threads hangs.
 *
 * That is: the training thread does not come out of a job that was abandoned, or the link's loop
 * does not go round. Nobody else could end such a worker; its state is elsewhere too, so it is
 * cheaper to die (exit code 70) and be started again. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_WATCHDOG_H
#define WORKER_WATCHDOG_H

#include "common/thread.h"
#include "worker/handover.h"
#include "worker/step.h"

enum {
    WATCHDOG_EXIT = 70,
    /* An abandoned step may still compute to its next collective; who gets nothing done for this
     * long hangs. */
    WATCHDOG_HANG_MS = 15000,
};

struct watchdog {
    struct thread thread;
    struct handover *handover;            /* borrowed */
    const struct step_progress *progress; /* borrowed */
    int64_t hang_ms;
    int stop_fd;
};

/* Threads that get nothing done for hang_ms end the process. Both are borrowed until the stop. */
enum status watchdog_start(struct watchdog *watchdog, struct handover *handover,
                           const struct step_progress *progress, int64_t hang_ms);
void watchdog_stop(struct watchdog *watchdog);

#endif
