/* actions.h - what the coordinator wants done, in order, as plain values.
 *
 * The list owns everything in it. The shell carries actions out one after another; what follows an
 * ACTION_JOURNAL waits until that record is durable, but for what is sent or said after a record
 * that may lag: that waits until it is written. Handling them twice is harmless to the protocol,
 * leaving one out is not. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_ACTIONS_H
#define SERVER_ACTIONS_H

#include <stdint.h>

#include "proto/message.h"
#include "server/journal_record.h"
#include "server/roster.h"

enum action_kind {
    ACTION_NONE,            /* nothing: it was moved elsewhere */
    ACTION_SEND,            /* message to connection; unreachable is no error */
    ACTION_JOURNAL,         /* append record before going on: journal_record_may_lag */
    ACTION_START_HELPERS,   /* mpirun for this generation, one helper per member */
    ACTION_STOP_HELPERS,    /* of this generation: kill them all */
    ACTION_WATCH,           /* tell when process pid, which is worker, dies */
    ACTION_UNWATCH,         /* no longer */
    ACTION_EVENT,           /* one line for log, feed and events.jsonl */
    ACTION_STEP,            /* a step was decided: a line of metrics.jsonl, the feed */
    ACTION_EXPECT_SNAPSHOT, /* parts of it will come from `shares` members */
    ACTION_DROP_SNAPSHOT,   /* stop expecting it, remove what came */
    ACTION_REMOVE_SNAPSHOT, /* remove a complete one, then answer who asked */
    ACTION_KEEP_SNAPSHOT,   /* do not remove this one, as was proposed */
    ACTION_RESTART,         /* begin again from the journal: more of it is needed than is kept */
    ACTION_FINISHED,        /* exit 0 after what came before is done */
};

struct action_helper {
    uint64_t worker;
    char name[ROSTER_NAME_BYTES];
    char host[ROSTER_NAME_BYTES];
    char address[ROSTER_TEXT_BYTES]; /* its helper_address */
};

struct action {
    enum action_kind kind;
    union {
        struct {
            uint64_t connection;
            struct message message;
        } send;
        struct journal_record record;
        struct {
            uint64_t generation, nonce;
            uint32_t count;                /* members, in order of rank */
            struct action_helper *helpers; /* NULL for STOP_HELPERS */
        } helpers;
        struct {
            uint64_t worker;
            uint32_t pid;
        } watch;
        struct {
            const char *kind; /* static: "worker_joined", "step_skipped", ... */
            int is_warning;
            char *text; /* key=value ... */
        } event;
        struct journal_step step; /* skips left out; see phase_us for the times */
        struct {
            char name[JOURNAL_NAME_BYTES];
            uint64_t step;
            uint32_t lineage, shares;
        } snapshot;
        struct {
            char name[JOURNAL_NAME_BYTES];
            uint64_t connection, request; /* 0 = nobody asked */
        } removal;
    };
};

struct actions {
    uint32_t count, capacity;
    struct action *items; /* owned */
};

void actions_init(struct actions *actions);
/* Forgets all, frees what they own, keeps the list's memory. */
void actions_clear(struct actions *actions);
void actions_done(struct actions *actions);
/* Appends a zeroed action of this kind; the pointer is good until the next push. */
struct action *actions_push(struct actions *actions, enum action_kind kind);
/* Moves *action to the end of another list; it is ACTION_NONE then. */
void actions_move(struct action *action, struct actions *to);
void actions_event(struct actions *actions, const char *kind, int is_warning, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));

#endif
