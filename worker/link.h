/* link.h - the worker's connection with the server: a thread that hears, says and obeys.
 *
 * It owns the socket, the member (the pure side of the protocol), the signals and the clock of
 * heartbeats. What the member wants done it does itself (sending, feeding the loader) or hands to
 * the training thread as jobs, whose reports it gives back to the member. SIGTERM and SIGINT drain;
 * the second one ends the process. An absent server is waited for, for ever. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_LINK_H
#define WORKER_LINK_H

#include "common/options.h"
#include "common/status.h"
#include "worker/gpu_health.h"
#include "worker/handover.h"
#include "worker/learning_watch.h"
#include "worker/step.h"

struct key;

struct link_setup {
    const char *server, *name, *device; /* device: device_public_name */
    const char *helper_address;
    const struct key *key;             /* NULL: none */
    const struct option_list *loaders; /* beside those of the config */
    struct handover *handover;
    const struct step_progress *progress;
    struct gpu_health *health;
    struct learning_watch *learning;
};

struct link;

/* Everything in setup is borrowed for the link's life. SIGTERM and SIGINT must be blocked. */
enum status link_start(const struct link_setup *setup, struct link **ret_link);
/* Waits until it has ended, which it does after REPORT_ENDED. NULL is fine. */
void link_stop(struct link *link);

#endif
