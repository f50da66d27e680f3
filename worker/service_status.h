/* service_status.h - the line that a service manager shows of a worker.
 *
 * A value of the link thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SERVICE_STATUS_H
#define WORKER_SERVICE_STATUS_H

#include <stdint.h>

#include "worker/member.h"
#include "worker/server_watch.h"

struct service_status {
    int64_t told_ms; /* 0: not yet */
};

/* Tells it, once a second at most. */
void service_status_tell(struct service_status *status, const struct server_watch *watch,
                         const struct member_view *view, double images_per_second);

#endif
