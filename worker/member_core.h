/* member_core.h - the member's state, shared by the files that together are the member.
 *
 * member.c takes events apart and knows steps; member_group.c knows generations, the present one
 * and the one that is prepared; this one is what both need. `out` holds for the event that is being
 * handled. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MEMBER_CORE_H
#define WORKER_MEMBER_CORE_H

#include <stdint.h>

#include "common/slice.h"
#include "worker/member.h"

enum { MEMBER_PLANS_MAX = 65 }; /* config's plan_ahead_steps is at most 64 */

/* A plan that is submitted to the loader and not computed yet. */
struct plan_note {
    uint64_t step;
    uint64_t generation;
    int wants_parameter_digest;
};

/* The generation whose collective is formed beside the present one. */
struct member_next {
    uint64_t generation; /* 0 = none */
    uint64_t nonce;
    uint64_t ticket;
    int is_formed; /* it stands, in waiting */
};

/* What the server's journal says of the step that led to the state held: its host may fall before
 * the record is safe, and then nobody else knows. */
struct member_proof {
    uint64_t step; /* of the state */
    uint32_t lineage;
    uint32_t length; /* 0 = nothing */
    uint8_t *record;
};

struct member {
    struct member_setup setup; /* its strings are copies */
    struct member_actions *out;
    enum member_state state;
    int is_connected, is_welcome, is_configured, is_draining;
    char *name;
    uint64_t run, epoch, fingerprint, sequence;
    uint64_t ticket; /* of the newest job */
    uint32_t heartbeat_ms;

    uint64_t shards_epoch, shards_sequence; /* of the newest word on shards */

    int has_state; /* parameters of `step` */
    uint32_t lineage;
    uint64_t step;
    uint64_t digest; /* of those parameters; 0 = not known */
    /* If the run shards its momentum, which only the server need know: what is kept of it, and is
     * the whole of it still in place? */
    struct slice_holding slices;
    int is_whole;

    uint64_t generation; /* formed or being formed; the newest that ever replaced another */
    int is_formed;       /* it works, as far as known */
    struct message regroup;
    uint64_t formed_digest;
    struct member_next next;
    uint64_t next_tickets;

    uint32_t plan_count;
    /* Consecutive steps, the first is the next one; those of the next generation come last. */
    struct plan_note plans[MEMBER_PLANS_MAX];
    int is_prepared; /* the vote on `step` is cast, in prepared_generation */
    uint64_t prepared_generation;
    struct message ready; /* the vote, to be repeated */
    struct member_proof proof;
    struct message snapshot; /* SnapshotBegin for a step not reached yet; kind 0 = none */
};

/* Appends an action about the present step; the pointer is good until the next push. */
struct member_action *member_push(struct member *m, enum member_action_kind kind);
/* To the server, a copy; the header says what we hold. */
void member_send(struct member *m, const struct message *message, uint64_t generation);
void member_say_hello(struct member *m);
void member_say_formed(struct member *m);
void member_say_prepared(struct member *m);
void member_say_broken(struct member *m, uint64_t generation, const char *reason);
void member_say_leave(struct member *m);
/* The generation in which what we hold means something: prepared or formed; 0 = none. */
uint64_t member_present_generation(const struct member *m);
/* What it has of a sharded momentum. */
struct slice_holding member_holding(const struct member *m);
/* Forgets the vote on `step`. */
void member_drop_vote(struct member *m);
/* The one place where parameters change by a step; keeps the verdict's record. */
void member_obey(struct member *m, const struct message_verdict *verdict);
/* A copy of the state is wanted for a step; now is the time if it is the present one. */
void member_take_snapshot(struct member *m);

#endif
