/* dashboard_child.h - the page of a run, as a process that lives as long as its server.
 *
 * `seer dashboard` from the folder of this program: it hears the status feed like any other viewer,
 * at a lower priority, so the server's loop does no HTTP work, and a fault there ends no run. If it
 * dies it stays away until the server is started again, or somebody starts one by hand. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_DASHBOARD_CHILD_H
#define SERVER_DASHBOARD_CHILD_H

#include <sys/types.h>

#include "common/config.h"
#include "common/status.h"

/* Starts it if server.dashboard says where, and waits until it listens; *ret_pid is 0 if not. Call
 * before threads are started and signals blocked. ERR_INPUT: it will not listen there; it has said
 * why on stderr. ERR_IO. */
enum status dashboard_child_start(const struct config *config, const char *directory,
                                  pid_t *ret_pid);
/* Ends it. 0 is fine. */
void dashboard_child_stop(pid_t pid);

#endif
