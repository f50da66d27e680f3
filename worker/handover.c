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

static void close_descriptors(struct handover *handover)
{
    const int fds[] = {handover->report_fd, handover->cancel_fds[0], handover->cancel_fds[1]};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

enum status handover_init(struct handover *handover)
{
    *handover = (struct handover){.running = UINT64_MAX};
    handover->report_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (int side = 0; side < 2; side++)
        handover->cancel_fds[side] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    enum status status = OK;
    if (handover->report_fd < 0 || handover->cancel_fds[0] < 0 || handover->cancel_fds[1] < 0)
        status = fail(ERR_IO, "eventfd: %s", strerror(errno));
    else
        status = meeting_init(&handover->meeting);
    if (status != OK) {
        close_descriptors(handover);
        return status;
    }
    handover->jobs = queue_create(JOBS_MAX);
    handover->preparations = queue_create(PREPARATIONS_MAX);
    handover->reports = queue_create(REPORTS_MAX);
    handover->parts = queue_create(PARTS_MAX);
    return OK;
}

struct job *job_create(struct member_action *action)
{
    struct job *job = mem_zero(sizeof(*job));
    job->action = *action;
    action->text = NULL;
    action->message = (struct message){0};
    return job;
}

void job_destroy(struct job *job)
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
    job_destroy(item);
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
    meeting_done(&handover->meeting);
    close_descriptors(handover);
}

int handover_has_room(const struct handover *handover)
{
    return queue_count(handover->jobs) + JOBS_IN_MESSAGE <= JOBS_MAX &&
           queue_count(handover->preparations) < PREPARATIONS_MAX;
}

/* Gives the job away. The queue has room: handover_has_room. */
static void push(struct queue *queue, struct job **job)
{
    void *item = *job;
    CHECK(queue_push(queue, &item, 0) == OK);
    *job = NULL;
}

void handover_order(struct handover *handover, struct job **job)
{
    if ((*job)->action.takes_over)
        handover->present = !handover->present;
    (*job)->abandoned = atomic_load(&handover->abandoned);
    (*job)->side = handover->present;
    push(handover->jobs, job);
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

void handover_prepare(struct handover *handover, struct job **job)
{
    (*job)->abandoned = atomic_load(&handover->abandoned);
    (*job)->side = !handover->present;
    (*job)->preparation = atomic_fetch_add(&handover->prepared, 1) + 1;
    cancel(handover, (*job)->side);
    push(handover->preparations, job);
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
    job_destroy(job);
}

enum status handover_check(struct handover *handover, const struct job *job)
{
    return atomic_load(&handover->abandoned) == job->abandoned
               ? OK
               : fail(ERR_STALE, "abandoned: the generation has ended");
}

struct report *report_create(enum report_kind kind, uint64_t ticket)
{
    struct report *report = mem_zero(sizeof(*report));
    report->kind = kind;
    report->ticket = ticket;
    return report;
}

void report_destroy(struct report *report)
{
    if (report == NULL)
        return;
    struct message ready = {.kind = MESSAGE_READY, .ready = report->ready};
    message_done(&ready);
    message_done(&report->message);
    mem_free(report->reason);
    snapshot_share_destroy(report->share);
    mem_free(report);
}

void handover_tell(struct handover *handover, struct report **report)
{
    void *item = *report;
    CHECK(queue_push(handover->reports, &item, -1) == OK);
    *report = NULL;
    CHECK(eventfd_write(handover->report_fd, 1) == 0);
}
