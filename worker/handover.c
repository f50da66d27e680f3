/* handover.c - three queues and two event descriptors. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/handover.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/check.h"
#include "common/mem.h"
#include "worker/snapshot_file.h"

enum {
    JOBS_MAX = 64, /* a server that keeps to the protocol orders a few */
    /* A Regroup orders most: apply, snapshot, form. As many again for a drain and the reports. */
    JOBS_IN_MESSAGE = 6,
    REPORTS_MAX = 64,
    PARTS_MAX = 16,
};

enum status handover_init(struct handover *handover)
{
    *handover = (struct handover){.running = UINT64_MAX};
    handover->report_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    handover->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (handover->report_fd < 0 || handover->cancel_fd < 0)
        return fail(ERR_IO, "eventfd: %s", strerror(errno));
    handover->jobs = queue_create(JOBS_MAX);
    handover->reports = queue_create(REPORTS_MAX);
    handover->parts = queue_create(PARTS_MAX);
    return OK;
}

static void job_destroy(void *item)
{
    struct job *job = item;
    message_done(&job->action.message);
    mem_free(job->action.text);
    mem_free(job->config);
    loader_destroy(job->loader);
    mem_free(job);
}

static void report_destroy_item(void *item)
{
    report_destroy(item);
}

static void message_destroy(void *item)
{
    message_done(item);
    mem_free(item);
}

void handover_done(struct handover *handover)
{
    if (handover->jobs == NULL)
        return;
    queue_destroy(handover->jobs, job_destroy);
    queue_destroy(handover->reports, report_destroy_item);
    queue_destroy(handover->parts, message_destroy);
    close(handover->report_fd);
    close(handover->cancel_fd);
}

static void order(struct handover *handover, struct member_action *action, struct config *config,
                  struct loader *loader)
{
    struct job *job = mem_zero(sizeof(*job));
    job->action = *action;
    action->text = NULL;
    action->message = (struct message){0};
    job->abandoned = atomic_load(&handover->abandoned);
    job->config = config;
    job->loader = loader;
    void *item = job;
    CHECK(queue_push(handover->jobs, &item, 0) == OK);
}

int handover_has_room(const struct handover *handover)
{
    return queue_count(handover->jobs) + JOBS_IN_MESSAGE <= JOBS_MAX;
}

void handover_order(struct handover *handover, struct member_action *action)
{
    order(handover, action, NULL, NULL);
}

void handover_configure(struct handover *handover, struct member_action *action,
                        struct config *config, struct loader *loader)
{
    order(handover, action, config, loader);
}

void handover_abandon(struct handover *handover)
{
    atomic_fetch_add(&handover->abandoned, 1);
    CHECK(eventfd_write(handover->cancel_fd, 1) == 0);
}

struct report *handover_report(struct handover *handover)
{
    void *item = NULL;
    return queue_pop(handover->reports, 0, &item) == OK ? item : NULL;
}

void report_destroy(struct report *report)
{
    struct message ready = {.kind = MESSAGE_READY, .ready = report->ready};
    message_done(&ready);
    message_done(&report->message);
    mem_free(report->reason);
    snapshot_share_destroy(report->share);
    mem_free(report);
}

/* The order matters: an abandonment after the drain is seen through cancel_fd, one before it by
 * handover_check. */
struct job *handover_job(struct handover *handover)
{
    void *item = NULL;
    CHECK(queue_pop(handover->jobs, -1, &item) == OK);
    struct job *job = item;
    atomic_store(&handover->running, job->abandoned);
    if (job->action.kind == MEMBER_FORM) {
        eventfd_t count;
        CHECK(eventfd_read(handover->cancel_fd, &count) == 0 || errno == EAGAIN);
    }
    return job;
}

void job_end(struct handover *handover, struct job *job)
{
    atomic_store(&handover->running, UINT64_MAX);
    job_destroy(job);
}

enum status handover_check(struct handover *handover, const struct job *job)
{
    return atomic_load(&handover->abandoned) == job->abandoned
               ? OK
               : fail(ERR_STALE, "abandoned: the generation has ended");
}

void handover_tell(struct handover *handover, const struct report *report)
{
    struct report *copy = mem_alloc(sizeof(*copy));
    *copy = *report;
    void *item = copy;
    CHECK(queue_push(handover->reports, &item, -1) == OK);
    CHECK(eventfd_write(handover->report_fd, 1) == 0);
}
