/* watchdog.h - ends the process when the training thread does not come out of an abandoned job.
 *
 * A collective that hangs past every deadline would hold a worker for ever; its state is elsewhere
 * too, so it is cheaper to die (exit code 70) and be started again. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_WATCHDOG_H
#define WORKER_WATCHDOG_H

#include "common/thread.h"
#include "worker/handover.h"
#include "worker/step.h"

enum { WATCHDOG_EXIT = 70 };

struct watchdog {
    struct thread thread;
    struct handover *handover;            /* borrowed */
    const struct step_progress *progress; /* borrowed */
    int stop_fd;
};

enum status watchdog_start(struct watchdog *watchdog, struct handover *handover,
                           const struct step_progress *progress);
void watchdog_stop(struct watchdog *watchdog);

#endif
