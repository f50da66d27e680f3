/* watchdog.c - looks twice a second.
 *
 * Time is counted in looks: while the whole process was stopped there were none, and that is
 * nothing against its threads. */
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
#include "common/log.h"
#include "common/notify.h"

enum { LOOK_MS = 500 };

/* What was seen of a thread, and how often in a row it was the same. */
struct sight {
    uint64_t seen;
    int64_t still_ms;
};

static void look(struct sight *sight, uint64_t now)
{
    sight->still_ms = now == sight->seen ? sight->still_ms + LOOK_MS : 0;
    sight->seen = now;
}

static void bark(const char *thread, const char *phase, int64_t still_ms)
{
    log_error("event=hang thread=%s phase=%s still_ms=%lld action=\"exit %d; start it again\"",
              thread, phase, (long long)still_ms, WATCHDOG_EXIT);
    _exit(WATCHDOG_EXIT);
}

static void watchdog_run(void *argument)
{
    struct watchdog *watchdog = argument;
    struct handover *handover = watchdog->handover;
    struct pollfd polled = {.fd = watchdog->stop_fd, .events = POLLIN};
    struct sight training = {0}, link = {0};
    while (poll(&polled, 1, LOOK_MS) <= 0) {
        uint64_t abandoned = atomic_load(&handover->abandoned);
        const char *phase = phase_name(atomic_load(&watchdog->progress->phase));
        /* A step may take long and wait for others as long as the server bears it; of one that it
         * has given up the thread must come out. */
        look(&training, atomic_load(&watchdog->progress->progress) + abandoned);
        if (atomic_load(&handover->running) >= abandoned)
            training.still_ms = 0;
        look(&link, atomic_load(&handover->turns));
        if (training.still_ms >= watchdog->hang_ms)
            bark("train", phase, training.still_ms);
        if (link.still_ms >= watchdog->hang_ms)
            bark("link", phase, link.still_ms);
        notify_alive(); /* of a watchdog that hangs itself nobody else would know */
    }
}

enum status watchdog_start(struct watchdog *watchdog, struct handover *handover,
                           const struct step_progress *progress, int64_t hang_ms)
{
    *watchdog = (struct watchdog){.handover = handover, .progress = progress, .hang_ms = hang_ms};
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
