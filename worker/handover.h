/* handover.h - what passes between a worker's link thread, its training thread, and the thread that
 * prepares the next generation.
 *
 * Jobs go one way, reports the other, both through bounded queues that move ownership. Abandoning
 * is a number: a job carries the count of abandonments at its birth, and one of an older count that
 * needs others (form, compute, prepare) comes to nothing. A cancel_fd becomes readable with it, so
 * that a wait inside the collective ends too. There are two of these, and two pulses: the present
 * group of members has one side, the group that is prepared the other; when that takes over, the
 * sides change places, and nobody need touch what already runs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_HANDOVER_H
#define WORKER_HANDOVER_H

#include <stdint.h>

#include "common/config.h"
#include "common/queue.h"
#include "common/status.h"
#include "loader/loader.h"
#include "worker/collective/collective.h"
#include "worker/meeting.h"
#include "worker/member.h"

struct snapshot_share;

struct job {
    struct member_action action;
    uint64_t abandoned;   /* handover's at its birth */
    uint64_t preparation; /* PREPARE: its number */
    int side;             /* of its group: index of cancel_fds and pulses */
    /* MEMBER_CONFIGURE: owned until the worker takes them. */
    struct config *config;
    struct loader *loader; /* from then on both threads use it, as loader.h allows */
};

enum report_kind {
    REPORT_FORMED,
    REPORT_COMPUTED,
    REPORT_FAILED,
    REPORT_PREPARED,
    REPORT_PREPARE_FAILED,
    REPORT_SHARE,      /* a copied share of a snapshot to push */
    REPORT_RENDEZVOUS, /* by what others shall meet us */
    REPORT_READ,       /* asks the server for bytes of a snapshot */
    REPORT_WARM,       /* a step was rehearsed */
    REPORT_ENDED,      /* the training thread has done its last job */
};

struct report {
    enum report_kind kind;
    uint64_t ticket;
    uint64_t digest;              /* FORMED */
    struct message_ready ready;   /* COMPUTED; owned */
    double images_per_second;     /* COMPUTED */
    char *reason;                 /* FAILED, PREPARE_FAILED; owned */
    struct snapshot_share *share; /* SHARE; owned */
    struct message message;       /* READ, RENDEZVOUS; owned */
};

struct handover {
    struct queue *jobs;         /* struct job, link to train */
    struct queue *preparations; /* struct job (PREPARE), link to prepare */
    struct queue *reports;      /* struct report, train and prepare to link */
    struct queue *parts;        /* struct message (SNAPSHOT_DATA), link to train */
    struct meeting meeting;     /* link to train or prepare: where members meet */
    int report_fd;              /* eventfd, readable when there are reports */
    int cancel_fds[2];          /* eventfds, readable when what runs on that side is abandoned */
    struct collective_pulse pulses[2];
    int present; /* the side of the present group; the link thread's */
    _Atomic uint64_t abandoned;
    _Atomic uint64_t prepared; /* the newest preparation's number: older ones are void */
    _Atomic uint64_t running;  /* `abandoned` of the job that runs, UINT64_MAX: none */
    _Atomic uint64_t turns;    /* of the link's loop: it goes round at every heartbeat */
};

/* ERR_IO: descriptors ran out; then it holds none, and handover_done is fine. */
enum status handover_init(struct handover *handover);
/* Once all threads that use it have ended; also for one that is zeroed. */
void handover_done(struct handover *handover);

/* Link thread. Is there room for all that one more word of the server can order? If not, it must
 * wait to be heard: nothing that a server says may make the queue of jobs overflow. */
int handover_has_room(const struct handover *handover);
/* A job of what the action says and owns; the action is left empty. */
struct job *job_create(struct member_action *action);
void job_destroy(struct job *job); /* NULL is fine */
/* Link thread. Takes the job, for the training thread. */
void handover_order(struct handover *handover, struct job **job);
/* Link thread. Takes the job, a MEMBER_PREPARE; what was prepared or is being prepared is void. */
void handover_prepare(struct handover *handover, struct job **job);
/* Any thread. All jobs that were ordered before come to nothing, as above. */
void handover_abandon(struct handover *handover);
/* Link thread. NULL: none. The caller destroys it. */
struct report *handover_report(struct handover *handover);
/* The prepare thread waits for its next job; the caller destroys it. NULL: there will be none. */
struct job *handover_preparation(struct handover *handover);
/* ERR_STALE if it was abandoned or replaced meanwhile. */
enum status handover_check_preparation(struct handover *handover, const struct job *job);
/* Any thread: abandons what is being prepared; nothing more will be. */
void handover_end_preparations(struct handover *handover);

/* Training thread. Waits for the next job, which job_end destroys. */
struct job *handover_job(struct handover *handover);
void job_end(struct handover *handover, struct job *job);
/* ERR_STALE if the job was abandoned meanwhile. */
enum status handover_check(struct handover *handover, const struct job *job);
/* The rest of it is zero. */
struct report *report_create(enum report_kind kind, uint64_t ticket);
void report_destroy(struct report *report); /* NULL is fine */
/* Takes the report; the prepare thread's too. Waits while there are REPORTS_MAX. */
void handover_tell(struct handover *handover, struct report **report);

#endif
