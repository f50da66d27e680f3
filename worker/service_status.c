/* service_status.c - one line, now and then. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/service_status.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/notify.h"

enum { PERIOD_MS = 1000 };

void service_status_tell(struct service_status *status, const struct server_watch *watch,
                         const struct member_view *view, double images_per_second)
{
    int64_t now_ms = clock_ms();
    if (status->told_ms != 0 && now_ms - status->told_ms < PERIOD_MS)
        return;
    status->told_ms = now_ms;
    if (!watch->is_up)
        notify_status("waiting for the server at %s", watch->address);
    else
        notify_status("%s, step %" PRIu64 ", generation %" PRIu64 ", %.1f images/s",
                      member_state_name(view->state), view->step, view->generation,
                      images_per_second);
}
