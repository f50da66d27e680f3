/* server_watch.h - what a worker's log says of its server: there, gone, never seen, or refusing.
 *
 * A value of the link thread. Each word is said once, or again after a while where it stays true.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SERVER_WATCH_H
#define WORKER_SERVER_WATCH_H

#include <stdint.h>

#include "proto/endpoint.h"

struct server_watch {
    const char *address; /* borrowed */
    int has_key;         /* we show one */
    int is_up;
    int has_complained; /* that it was never there; then only its going is told */
    int64_t start_ms;
    int64_t refused_ms; /* when a refusal was logged last; 0: never */
};

void server_watch_init(struct server_watch *watch, const char *address, int has_key);
/* Returns whether it came or went: watch->is_up says which. */
int server_watch_see(struct server_watch *watch, enum endpoint_change change);
/* Now and then: complains once of a server that was not there for a while. */
void server_watch_look(struct server_watch *watch);

#endif
