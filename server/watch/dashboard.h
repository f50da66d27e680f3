/* dashboard.h - the run as a page, as metrics and as JSON, over HTTP.
 *
 * A program of its own, fed by nothing but the status feed (and, for the past, the files of the
 * run's folder): whatever its clients do costs the server's loop nothing, a fault in it or in the
 * HTTP library cannot end a run, and it can tell that the server is gone. One thread: feed and
 * clients are waited for in one place, so nothing is shared. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_DASHBOARD_H
#define SERVER_WATCH_DASHBOARD_H

#include "common/status.h"

struct dashboard_options {
    const char *run, *server; /* one of them: follower.h */
    const char *key;          /* a file, or NULL */
    const char *listen;       /* http_open's address */
    int is_remote_allowed;
    const char *token; /* a file: whoever knows it gives orders (token.h); NULL: nobody does */
    const volatile int *is_stopping; /* set by a signal handler */
};

/* Serves until is_stopping. Says where it listens on stdout, one line. Errors as http_open. */
enum status dashboard_run(const struct dashboard_options *options);

#endif
