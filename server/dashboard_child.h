/* dashboard_child.h - the page of a run, as a process that lives as long as its server.
 *
 * `seer dashboard` from the folder of this program: it hears the status feed like any other viewer,
 * at a lower priority, so the server's loop does no HTTP work, and a fault there ends no run. A
 * thread waits for its end and starts it again: after a second, and ever later (at most a minute)
 * if it does not last. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_DASHBOARD_CHILD_H
#define SERVER_DASHBOARD_CHILD_H

#include "common/config.h"
#include "common/status.h"

struct dashboard_child;

/* Starts it if server.dashboard says where, and waits until it listens; NULL if not. The config is
 * borrowed. ERR_INPUT: it will not listen there; it has said why on stderr. ERR_IO. */
enum status dashboard_child_start(const struct config *config, const char *directory,
                                  struct dashboard_child **ret_child);
/* Ends it, and waits for that. NULL is fine. */
void dashboard_child_stop(struct dashboard_child *child);

#endif
