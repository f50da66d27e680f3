/* member.h - the worker's side of the protocol: events in, actions out, nothing else.
 *
 * The twin of server/coordinator.h. Two threads serve it: the link thread feeds it and carries out
 * sends; jobs (MEMBER_FORM to MEMBER_SNAPSHOT) go in order into one queue to the training thread.
 * MEMBER_PREPARE goes to a third one, which forms the next generation's collective meanwhile.
 * MEMBER_ABANDON makes the job that runs fail soon (collective_abort) and those queued before it
 * come to nothing, except APPLY and SKIP, which always happen; what is prepared falls with it. A
 * finished job is reported with its ticket; a ticket of the past changes nothing. In reading order:
 * member.c (events and steps), member_group.c (generations), member_core.c (speaking). The rules it
 * keeps:
 *   - parameters change only by a verdict of the server for a step this member voted for in the
 *     same generation, or by state received while forming a generation;
 *   - what it prepared is kept until a verdict or a Regroup decides, through any disconnection;
 *   - generations only grow.
 * A member that forms with source STATE_MEMBER and already holds the step's state counts on the
 * broadcast to leave it old or equal bytes, never other ones, should it fail half-way. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MEMBER_H
#define WORKER_MEMBER_H

#include <stdint.h>

#include "common/slice.h"
#include "proto/message.h"

/* What it says about itself in Hello; strings are copied. */
struct member_setup {
    uint64_t worker; /* random, new for every process */
    const char *name, *host, *device, *version, *helper_address;
    uint64_t boot;
    uint32_t pid;
};

enum member_event_kind {
    MEMBER_CONNECTED, /* the first time, or again: says Hello */
    MEMBER_DISCONNECTED,
    MEMBER_MESSAGE,        /* from the server; snapshot acks and data are the shell's own */
    MEMBER_CONFIGURED,     /* answer to MEMBER_CONFIGURE: fingerprint */
    MEMBER_FORMED,         /* job FORM is done: collective up, state of the step held; digest */
    MEMBER_COMPUTED,       /* job COMPUTE is done: ready (its skips are taken over, see below) */
    MEMBER_JOB_FAILED,     /* job FORM or COMPUTE came to nothing; reason */
    MEMBER_PREPARED,       /* PREPARE is done: that collective stands, in waiting */
    MEMBER_PREPARE_FAILED, /* PREPARE came to nothing; reason */
    MEMBER_UNREADABLE,     /* a shard that it was told of cannot be read */
    MEMBER_DRAIN,          /* SIGTERM */
    MEMBER_TICK,           /* every heartbeat_ms: heartbeat says what the training thread does */
};

struct member_event {
    enum member_event_kind kind;
    uint64_t ticket; /* FORMED, COMPUTED, JOB_FAILED; PREPARED, PREPARE_FAILED */
    union {
        const struct message *message;                     /* borrowed for the call */
        uint64_t fingerprint;                              /* CONFIGURED */
        uint64_t digest;                                   /* FORMED */
        const struct message_ready *ready;                 /* COMPUTED; borrowed for the call */
        const struct message_heartbeat *heartbeat;         /* TICK; borrowed for the call */
        const struct message_shard_unreadable *unreadable; /* UNREADABLE; borrowed for the call */
        const char *reason; /* JOB_FAILED, PREPARE_FAILED, DRAIN; may be NULL */
    };
};

enum member_action_kind {
    MEMBER_SEND,      /* message to the server */
    MEMBER_CONFIGURE, /* build loader, state, step from this YAML; once */
    MEMBER_SHARDS,    /* message.shards: loader_add_shard each, loader_keep_shards */
    MEMBER_FLUSH,     /* loader_flush: plans of `step` and later are void */
    MEMBER_SUBMIT,    /* message.plan to the loader; header.step */
    MEMBER_ABANDON,   /* see above; also drops the present collective and a prepared one */
    MEMBER_PREPARE,   /* message.prepare: form it in the background, in place of what was prepared
                       * before, and keep it; -> PREPARED */
    /* Jobs of the training thread, in order: */
    MEMBER_FORM,     /* message.regroup: form, then take state from its source; -> FORMED */
    MEMBER_COMPUTE,  /* step: take the batch, compute up to the vote; -> COMPUTED */
    MEMBER_APPLY,    /* step, lr: what was computed for step becomes the state */
    MEMBER_SKIP,     /* step: only the step counts up */
    MEMBER_SNAPSHOT, /* message.snapshot_begin: copy this share of the state of step, then push */
    /* */
    MEMBER_EXIT, /* after the jobs before it are done (and pushed shares acknowledged) */
};

struct member_action {
    enum member_action_kind kind;
    uint64_t ticket;
    uint64_t step;
    double lr;                  /* APPLY */
    uint32_t slots;             /* CONFIGURE: as Welcome says */
    int takes_over;             /* FORM: the collective is the prepared one */
    int holds_state;            /* FORM: what is held is the state that it starts from */
    int wants_parameter_digest; /* COMPUTE */
    int exit_code;              /* EXIT */
    struct message message;     /* owned by the list */
    char *text;                 /* CONFIGURE: YAML; EXIT: why, for the log. Owned by the list */
};

struct member_actions {
    uint32_t count, capacity;
    struct member_action *items; /* owned */
};

void member_actions_init(struct member_actions *actions);
void member_actions_clear(struct member_actions *actions);
void member_actions_done(struct member_actions *actions);

enum member_state {
    MEMBER_STATE_ALONE,  /* not welcomed on this connection */
    MEMBER_STATE_PARKED, /* welcomed, in no generation */
    MEMBER_STATE_FORMING,
    MEMBER_STATE_IDLE,     /* formed; waits for a plan */
    MEMBER_STATE_BUSY,     /* computes */
    MEMBER_STATE_PREPARED, /* has voted, waits for the verdict */
    MEMBER_STATE_GONE,     /* told to exit */
};

struct member_view {
    enum member_state state;
    uint64_t step, generation; /* committed steps held; generation formed or being formed */
    uint32_t lineage;
    int has_state;
    struct slice_holding slices; /* of a sharded momentum, that it has for sure */
    const char *name;            /* as the server knows it */
    uint32_t heartbeat_ms;       /* as the server asked; 0 before Welcome */
};

struct member;

struct member *member_create(const struct member_setup *setup);
void member_destroy(struct member *member); /* NULL is fine */
void member_handle(struct member *member, const struct member_event *event,
                   struct member_actions *out);
void member_view(const struct member *member, struct member_view *ret_view);
const char *member_state_name(enum member_state state);

#endif
