/* handover.h - what passes between a worker's link thread and its training thread.
 *
 * Jobs go one way, reports the other, both through bounded queues that move ownership. Abandoning
 * is a number: a job carries the count of abandonments at its birth, and one of an older count that
 * needs others (form, compute) comes to nothing. cancel_fd becomes readable with it, so that a wait
 * inside the collective ends too. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_HANDOVER_H
#define WORKER_HANDOVER_H

#include <stdint.h>

#include "common/config.h"
#include "common/queue.h"
#include "common/status.h"
#include "loader/loader.h"
#include "worker/member.h"

struct snapshot_share;

struct job {
    struct member_action action;
    uint64_t abandoned; /* handover_abandoned at its birth */
    /* MEMBER_CONFIGURE: owned until the worker takes them. */
    struct config *config;
    struct loader *loader; /* from then on both threads use it, as loader.h allows */
};

enum report_kind {
    REPORT_FORMED,
    REPORT_COMPUTED,
    REPORT_FAILED,
    REPORT_SHARE, /* a copied share of a snapshot to push */
    REPORT_READ,  /* asks the server for bytes of a snapshot */
    REPORT_ENDED, /* the training thread has done its last job */
};

struct report {
    enum report_kind kind;
    uint64_t ticket;
    uint64_t digest;              /* FORMED */
    struct message_ready ready;   /* COMPUTED; owned */
    double images_per_second;     /* COMPUTED */
    char *reason;                 /* FAILED; owned */
    struct snapshot_share *share; /* SHARE; owned */
    struct message message;       /* READ; owned */
};

struct handover {
    struct queue *jobs;    /* struct job, link to train */
    struct queue *reports; /* struct report, train to link */
    struct queue *parts;   /* struct message (SNAPSHOT_DATA), link to train */
    int report_fd;         /* eventfd, readable when there are reports */
    int cancel_fd;         /* eventfd, readable when the running job is abandoned */
    _Atomic uint64_t abandoned;
    _Atomic uint64_t running; /* `abandoned` of the job that runs, UINT64_MAX: none */
    _Atomic uint64_t turns;   /* of the link's loop: it goes round at every heartbeat */
};

enum status handover_init(struct handover *handover);
void handover_done(struct handover *handover);

/* Link thread. Is there room for all that one more word of the server can order? If not, it must
 * wait to be heard: nothing that a server says may make the queue of jobs overflow. */
int handover_has_room(const struct handover *handover);
/* Link thread. Takes what the action owns. */
void handover_order(struct handover *handover, struct member_action *action);
/* The job CONFIGURE with what the link made of the text; takes config, lends the loader on. */
void handover_configure(struct handover *handover, struct member_action *action,
                        struct config *config, struct loader *loader);
void handover_abandon(struct handover *handover);
/* NULL: none. The caller destroys it. */
struct report *handover_report(struct handover *handover);
void report_destroy(struct report *report);

/* Training thread. Waits for the next job; the caller destroys it. */
struct job *handover_job(struct handover *handover);
void job_end(struct handover *handover, struct job *job);
/* ERR_STALE if the job was abandoned meanwhile. */
enum status handover_check(struct handover *handover, const struct job *job);
/* Takes the report. */
void handover_tell(struct handover *handover, const struct report *report);

#endif
