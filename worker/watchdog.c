/* watchdog.c - looks twice a second. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/watchdog.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

enum {
    LOOK_MS = 500,
    /* An abandoned step may still compute to its next collective; one that gets nothing done for
     * this long hangs. */
    HANG_MS = 15000,
};

static void watchdog_run(void *argument)
{
    struct watchdog *watchdog = argument;
    struct handover *handover = watchdog->handover;
    struct pollfd polled = {.fd = watchdog->stop_fd, .events = POLLIN};
    uint64_t progress = 0;
    int64_t moved_ms = clock_ms();
    while (poll(&polled, 1, LOOK_MS) <= 0) {
        int64_t now_ms = clock_ms();
        uint64_t now = atomic_load(&watchdog->progress->progress);
        if (now != progress)
            moved_ms = now_ms;
        progress = now;
        int is_abandoned = atomic_load(&handover->running) < atomic_load(&handover->abandoned);
        if (!is_abandoned || now_ms - moved_ms < HANG_MS ||
            now_ms - atomic_load(&handover->abandoned_ms) < HANG_MS)
            continue;
        log_error("event=hang phase=%s stuck_ms=%lld action=\"exit %d; start it again\"",
                  phase_name(atomic_load(&watchdog->progress->phase)),
                  (long long)(now_ms - moved_ms), WATCHDOG_EXIT);
        _exit(WATCHDOG_EXIT);
    }
}

enum status watchdog_start(struct watchdog *watchdog, struct handover *handover,
                           const struct step_progress *progress)
{
    *watchdog = (struct watchdog){.handover = handover, .progress = progress};
    watchdog->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (watchdog->stop_fd < 0)
        return fail(ERR_IO, "eventfd: %s", strerror(errno));
    enum status status = thread_start(&watchdog->thread, "watchdog", watchdog_run, watchdog);
    if (status != OK)
        close(watchdog->stop_fd);
    return status;
}

void watchdog_stop(struct watchdog *watchdog)
{
    if (!watchdog->thread.is_running)
        return;
    CHECK(eventfd_write(watchdog->stop_fd, 1) == 0);
    thread_stop(&watchdog->thread);
    close(watchdog->stop_fd);
}
