/* coordinator.h - the mind of the server: events in, actions out, nothing else.
 *
 * Pure: no clock, socket, file, thread or entropy in here; time, randomness and what happened come
 * in as arguments, and what is to be done goes out as a list of actions that the caller carries out
 * in order. An ACTION_JOURNAL comes before any later action (actions.h says how durably): on this
 * rests every promise about steps. In reading order: coordinator.c (dispatch), admission.c (who
 * comes and goes), formation.c (generations), succession.c (the next one, prepared meanwhile),
 * deal.c (who computes how much), blame.c (who holds a step up), round.c (plans, votes, verdicts),
 * agreement.c (members that computed differently), boundary.c (what happens between two steps:
 * joining, leaving, snapshots, stopping), recovery.c (the journal read back), orders.c (operators),
 * snapshot_records.c (what a restore may use), shard_records.c (what can be read).
 *
 * Life: create, restore (every record of the journal, in order), start, handle ... until
 * ACTION_FINISHED. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_COORDINATOR_H
#define SERVER_COORDINATOR_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "proto/message.h"
#include "server/actions.h"
#include "server/expiry.h"
#include "server/journal_record.h"
#include "server/quarantine.h"
#include "server/roster.h"
#include "server/stale.h"

struct coordinator_setup {
    const struct config *config; /* borrowed for the coordinator's life */
    const char *config_text;     /* config_print of it, sent to workers; copied */
    uint64_t run;                /* identity for a new run; a journal's own wins */
    uint64_t entropy;            /* seed of nonces: fresh at every start */
    uint64_t boot;               /* hash of this host's boot id, to know whose pids are ours */
};

enum coordinator_event_kind {
    COORDINATOR_MESSAGE,          /* a worker's message; the snapshot parts are not for here */
    COORDINATOR_CONNECTION_LOST,  /* the shell saw a connection go */
    COORDINATOR_PROCESS_DIED,     /* a watched process ended */
    COORDINATOR_HELPERS_FAILED,   /* the helpers of `generation` could not start or ended */
    COORDINATOR_TICK,             /* at least every TICK_MS */
    COORDINATOR_COMMAND,          /* an operator's word */
    COORDINATOR_SHARD_FOUND,      /* a shard is in a store; known paths are ignored */
    COORDINATOR_TIME,             /* now and then: shards expire by it */
    COORDINATOR_SNAPSHOT_DONE,    /* the parameter store holds the whole of it, durably */
    COORDINATOR_SNAPSHOT_FAILED,  /* it will not become complete; what came of it is removed */
    COORDINATOR_SNAPSHOT_GONE,    /* a complete one cannot be read */
    COORDINATOR_SNAPSHOT_SURPLUS, /* retention does not keep it */
};

enum { COORDINATOR_TICK_MS = 50 };

enum coordinator_command {
    COMMAND_PAUSE,
    COMMAND_RESUME,
    COMMAND_STOP,     /* snapshot, dismiss everybody, finish */
    COMMAND_DRAIN,    /* argument: a worker's name; it leaves at the next boundary */
    COMMAND_EVICT,    /* argument: a worker's name; it is out at once */
    COMMAND_SNAPSHOT, /* argument: a name, or "" */
    COMMAND_REMOVE,   /* argument: the name of a complete snapshot that is not pinned */
    COMMAND_RETIRE,   /* argument: a shard's path or number */
    COMMAND_POLICY,   /* policy: what is to hold of the stream from now on */
};

struct coordinator_event {
    enum coordinator_event_kind kind;
    uint64_t connection; /* MESSAGE, CONNECTION_LOST, COMMAND (to answer; 0 = nobody) */
    union {
        const struct message *message; /* borrowed for the call */
        uint64_t worker;               /* PROCESS_DIED */
        uint64_t generation;           /* HELPERS_FAILED */
        struct {
            enum coordinator_command command;
            uint64_t request;     /* repeated in the reply */
            const char *argument; /* "" = none */
            const struct stream_policy *policy;
        } command;
        struct {
            const char *path;
            uint64_t records;
            uint64_t content_hash;   /* as store.h has it; 0: not known */
            struct expiry_fact fact; /* noted also of a path that is known */
        } shard;
        int64_t wall_ms; /* TIME: since 1970, UTC */
        struct {
            const char *name;
            uint64_t step;
        } snapshot;
    };
    const char *reason; /* for people: why it happened, or was ordered; may be NULL */
};

enum run_state {
    RUN_RECOVERING, /* restarted: waiting for the members of the last generation */
    RUN_WAITING,    /* no generation: for workers, or for their state to come back */
    RUN_FORMING,    /* a generation is being formed */
    RUN_TRAINING,
    RUN_STARVED, /* formed, but the stream has no images for the next step */
    RUN_PAUSED,  /* formed, by order of an operator */
    RUN_BROKEN,  /* the generation ended; the next is about to be formed */
    RUN_CLOSING, /* stopping: the last snapshot is being taken */
    RUN_FINISHED,
};

/* For status and feed; borrowed until the next event. */
struct coordinator_view {
    enum run_state state;
    uint64_t run, epoch, step, generation;
    uint32_t lineage;
    double loss, lr;     /* of the last committed step */
    uint64_t position;   /* of the next step's first image */
    uint64_t stream_end; /* images are known up to here */
    uint32_t shards_live, shards_known;
    uint32_t world_size;
    const struct roster *roster;
    const struct schedule_state *schedule;
    const char *snapshot; /* newest complete one, "" = none */
    uint64_t snapshot_step;
    const struct stream_policy *policy;
    uint64_t records_quarantined;
    const uint64_t *stale; /* [STALE_KIND_COUNT] messages refused since this server started */
    int has_begun;         /* a generation was formed, once */
    int has_initial;       /* it began, or will begin, with the snapshot SNAPSHOT_INITIAL */
};

struct coordinator_shard {
    const char *path;
    uint64_t records;
    int is_retired; /* its records are passed over from what is not planned yet on */
    int is_broken;  /* it cannot be read: from then on its records count as bad */
    int is_used;    /* some of them are still to be trained on, or may be after a restore */
    int is_surplus; /* living, retired, whole and not used: its files may go */
    struct quarantine_shard quarantined;
    struct expiry_fact fact; /* what its store says of it */
};

struct coordinator;

struct coordinator *coordinator_create(const struct coordinator_setup *setup);
void coordinator_destroy(struct coordinator *coordinator); /* NULL is fine */
/* One record of the journal. ERR_CORRUPT for what cannot follow what came before; ERR_INPUT when
 * the config's batch or slot no longer fits the journal's. */
enum status coordinator_restore(struct coordinator *coordinator,
                                const struct journal_record *record);
/* After the last record: begins a new epoch. */
void coordinator_start(struct coordinator *coordinator, int64_t now_ms, struct actions *out);
/* Before that, and before the run has begun: the parameter store holds SNAPSHOT_INITIAL, with which
 * it is to begin. */
void coordinator_begin_with_initial(struct coordinator *coordinator);
void coordinator_handle(struct coordinator *coordinator, const struct coordinator_event *event,
                        int64_t now_ms, struct actions *out);
void coordinator_view(const struct coordinator *coordinator, struct coordinator_view *ret_view);
/* A shard, by its number; 0 = there is none. ret_shard borrows until the next event. */
int coordinator_shard(const struct coordinator *coordinator, uint32_t id,
                      struct coordinator_shard *ret_shard);
const char *run_state_name(enum run_state state);

#endif
