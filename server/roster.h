/* roster.h - who is there: workers, what they hold, and whether they are still heard from.
 *
 * A worker is in the roster from its first accepted Hello until it is lost or leaves. What is
 * written here about a worker's state (step, lineage, is_prepared) is what the worker said last and
 * is thus never ahead of the truth. Pure: time comes in. Times are milliseconds of the server's
 * clock. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_ROSTER_H
#define SERVER_ROSTER_H

#include <stdint.h>

#include "common/slice.h"
#include "common/status.h"
#include "proto/message.h"

enum worker_state {
    WORKER_PARKED,   /* waits for the next generation */
    WORKER_MEMBER,   /* of the present generation */
    WORKER_DRAINING, /* member or not: leaves at the next boundary */
};

enum { ROSTER_MAX = MESSAGE_MEMBERS_MAX, ROSTER_NAME_BYTES = 64, ROSTER_TEXT_BYTES = 128 };

struct worker {
    uint64_t id;         /* drawn by the worker at its start */
    uint64_t connection; /* the shell's name for the way to it */
    enum worker_state state;
    char name[ROSTER_NAME_BYTES]; /* unique in the roster */
    char host[ROSTER_NAME_BYTES];
    char device[ROSTER_NAME_BYTES];
    char helper_address[ROSTER_TEXT_BYTES];
    char version[ROSTER_NAME_BYTES]; /* of its program */
    uint32_t protocol;               /* that it and we speak: proto/protocol.h */
    uint64_t boot;
    uint32_t pid;
    int is_watched; /* the shell holds a pidfd of it */

    uint64_t sequence; /* highest seen: older Hellos and heartbeats are void */
    int64_t heard_ms;  /* when it was last heard from */
    int is_forgiven;   /* of the silence since then a part was: not again */
    int64_t hello_ms;

    int has_state;
    uint32_t lineage; /* of that state */
    uint64_t step;    /* committed steps that it holds */
    int is_prepared;  /* has voted for `step` in prepared_generation */
    uint64_t prepared_generation;
    struct slice_holding slices; /* of a sharded momentum of that state: what it has for sure */
    uint32_t deviations;         /* in a row: its digest differed from the others' */

    int rank;                          /* in the present generation; -1 = none */
    int next_rank;                     /* in the one that is prepared; -1 = none */
    int is_next_ready, is_next_broken; /* what it has said of that one's collective */
    int is_formed;                     /* has formed the present generation */
    uint64_t formed_digest;
    int is_ready;                                  /* has voted for the present step */
    int is_broken;                                 /* has reported the present generation broken */
    struct message_heartbeat heartbeat;            /* the last one */
    uint64_t heartbeat_step, heartbeat_generation; /* of its header */
    int64_t moved_ms;                              /* when it was last seen to get anything done */
    double slot_us;                /* its own time for a slot, smoothed; 0 = not known yet */
    int64_t phase_us[PHASE_COUNT]; /* of its last vote */
    uint64_t images_trained;       /* in committed steps since its Hello */
};

struct roster {
    uint32_t count, capacity;
    struct worker *workers; /* [capacity]; in order of first Hello */
    /* Where somebody was found last time, by rank and by id: a guess that saves the search, since
     * of a thousand workers each is looked up many times a step. */
    uint32_t rank_guess[ROSTER_MAX], id_guess[ROSTER_MAX];
};

void roster_init(struct roster *roster);
void roster_done(struct roster *roster);
struct worker *roster_find(struct roster *roster, uint64_t id); /* NULL = absent */
struct worker *roster_find_name(struct roster *roster, const char *name);
/* Adds a parked worker; its name gets -2, -3, ... if it is taken. NULL when the roster is full,
 * that is, has ROSTER_MAX. Pointers to other workers move. */
struct worker *roster_add(struct roster *roster, uint64_t id, const struct message_hello *hello);
/* Pointers to workers behind it move. */
void roster_remove(struct roster *roster, struct worker *worker);
/* The coordinator itself stood still: everyone was heard from that much later. */
void roster_extend(struct roster *roster, int64_t gap_ms);
void roster_hear(struct worker *worker, int64_t now_ms);
/* All were silent and one is heard: so much of it counts against nobody. Once for each silence of a
 * worker, so that who is gone for good is found out, however often the others fall silent. */
void roster_forgive_silence(struct roster *roster, int64_t now_ms, int64_t silent_ms);
/* Was nobody of several heard from for so long? */
int roster_is_silent(const struct roster *roster, int64_t now_ms, int64_t silent_ms);
/* The worker that was silent for longest, if longer than lost_ms; NULL = none. */
struct worker *roster_find_silent(struct roster *roster, int64_t now_ms, int64_t lost_ms);
/* Is a further behind than b, by what their heartbeats say? In order: step, collective operations
 * called (if of one generation), phase. */
int roster_is_behind(const struct worker *a, const struct worker *b);
/* Member to blame when a step does not come to an end: the one furthest behind of those that have
 * not voted, the longest there if several. NULL if all have voted. */
struct worker *roster_find_blamed(struct roster *roster);
struct worker *roster_find_rank(struct roster *roster, int rank);
struct worker *roster_find_next(struct roster *roster, int next_rank);
const char *worker_state_name(enum worker_state state);

#endif
