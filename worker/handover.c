/* handover.c - four queues and three event descriptors. */
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
    PREPARATIONS_MAX = 4, /* all but the newest are void */
    REPORTS_MAX = 64,
    PARTS_MAX = 16,
};

enum status handover_init(struct handover *handover)
{
    *handover = (struct handover){.running = UINT64_MAX};
    handover->report_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (int side = 0; side < 2; side++)
        handover->cancel_fds[side] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (handover->report_fd < 0 || handover->cancel_fds[0] < 0 || handover->cancel_fds[1] < 0)
        return fail(ERR_IO, "eventfd: %s", strerror(errno));
    handover->jobs = queue_create(JOBS_MAX);
    handover->preparations = queue_create(PREPARATIONS_MAX);
    handover->reports = queue_create(REPORTS_MAX);
    handover->parts = queue_create(PARTS_MAX);
    return OK;
}

void handover_destroy_job(struct job *job)
{
    if (job == NULL)
        return;
    message_done(&job->action.message);
    mem_free(job->action.text);
    mem_free(job->config);
    loader_destroy(job->loader);
    mem_free(job);
}

static void destroy_job_item(void *item)
{
    handover_destroy_job(item);
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
    queue_destroy(handover->jobs, destroy_job_item);
    queue_destroy(handover->preparations, destroy_job_item);
    queue_destroy(handover->reports, report_destroy_item);
    queue_destroy(handover->parts, message_destroy);
    close(handover->report_fd);
    close(handover->cancel_fds[0]);
    close(handover->cancel_fds[1]);
}

static struct job *job_of(struct handover *handover, struct member_action *action)
{
    struct job *job = mem_zero(sizeof(*job));
    job->action = *action;
    action->text = NULL;
    action->message = (struct message){0};
    job->abandoned = atomic_load(&handover->abandoned);
    job->side = handover->present;
    return job;
}

static void order(struct handover *handover, struct member_action *action, struct config *config,
                  struct loader *loader)
{
    if (action->takes_over)
        handover->present = !handover->present;
    struct job *job = job_of(handover, action);
    job->config = config;
    job->loader = loader;
    void *item = job;
    CHECK(queue_push(handover->jobs, &item, 0) == OK);
}

int handover_has_room(const struct handover *handover)
{
    return queue_count(handover->jobs) + JOBS_IN_MESSAGE <= JOBS_MAX &&
           queue_count(handover->preparations) < PREPARATIONS_MAX;
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

static void cancel(struct handover *handover, int side)
{
    CHECK(eventfd_write(handover->cancel_fds[side], 1) == 0);
}

static void drain(struct handover *handover, int side)
{
    eventfd_t count;
    CHECK(eventfd_read(handover->cancel_fds[side], &count) == 0 || errno == EAGAIN);
}

void handover_abandon(struct handover *handover)
{
    atomic_fetch_add(&handover->abandoned, 1);
    cancel(handover, 0);
    cancel(handover, 1);
}

void handover_prepare(struct handover *handover, struct member_action *action)
{
    struct job *job = job_of(handover, action);
    job->side = !handover->present;
    job->preparation = atomic_fetch_add(&handover->prepared, 1) + 1;
    cancel(handover, job->side);
    void *item = job;
    CHECK(queue_push(handover->preparations, &item, 0) == OK);
}

/* An older preparation's cancel must not hit this one: drained first, then checked, as below. */
struct job *handover_preparation(struct handover *handover)
{
    void *item = NULL;
    if (queue_pop(handover->preparations, -1, &item) != OK)
        return NULL;
    struct job *job = item;
    drain(handover, job->side);
    return job;
}

enum status handover_check_preparation(struct handover *handover, const struct job *job)
{
    return atomic_load(&handover->prepared) == job->preparation
               ? handover_check(handover, job)
               : fail(ERR_STALE, "another generation is prepared by now");
}

void handover_end_preparations(struct handover *handover)
{
    queue_close(handover->preparations);
    handover_abandon(handover);
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

/* The order matters: an abandonment after the drain is seen through the cancel_fd, one before it by
 * handover_check. A collective that is taken over has been watching its own all the time. */
struct job *handover_job(struct handover *handover)
{
    void *item = NULL;
    CHECK(queue_pop(handover->jobs, -1, &item) == OK);
    struct job *job = item;
    atomic_store(&handover->running, job->abandoned);
    if (job->action.kind == MEMBER_FORM && !job->action.takes_over)
        drain(handover, job->side);
    return job;
}

void job_end(struct handover *handover, struct job *job)
{
    atomic_store(&handover->running, UINT64_MAX);
    handover_destroy_job(job);
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
