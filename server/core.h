/* core.h - the coordinator's state, shared by the files that together are the coordinator.
 *
 * Members above the line are what the journal says; a restart finds them as they were. Those below
 * are of this process and may be lost at any time. `out` and `now_ms` hold for the event that is
 * being handled. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_CORE_H
#define SERVER_CORE_H

#include <stdint.h>

#include "server/coordinator.h"
#include "server/expiry.h"
#include "server/quarantine.h"
#include "server/stream.h"

enum {
    CORE_SNAPSHOTS = 64,  /* complete ones that are remembered for a restore */
    CORE_GAP_MS = 200,    /* a longer silence between two events is our own standstill */
    CORE_GATHER_MS = 300, /* the first workers come in a bunch: wait for the bunch */
    CORE_GATHER_LONGEST_MS = 2000,
    CORE_SETTLE_MS = 100,  /* after "my collective broke": time to learn who died */
    CORE_BACKOFF_MS = 100, /* doubled with each generation that failed to form */
    CORE_BACKOFF_DOUBLINGS = 6,
    CORE_FAREWELL_MS = 2000, /* at the end of a run, for everybody to say bye */
    CORE_DEVIATIONS_MAX = 2, /* a worker that differs this often in a row is sent away */
    CORE_SILENT_MS = 1000,   /* a worker without heartbeats for so long stands still as a whole */
    CORE_DEAF_TIMES = 10,    /* lost_ms, for which a silence of all is believed to be our own */
    CORE_DISCHARGES = 256,   /* workers sent away that are remembered */
    CORE_SHARDS_IN_MESSAGE = 1024,
    CORE_SHARD_JURY_MS = 15000, /* thrice as long as a worker tries (loader/shard_table.h) */
    CORE_COMPLAINTS = 4096,
    CORE_REASON_BYTES = 256,
    CORE_RELEASE_STEPS = 16,  /* between two looks for shards that nobody needs */
    CORE_PLAN_AHEAD_MAX = 64, /* the largest plan_ahead_steps that a config can have */
};

/* As enum collective_engine of worker/collective/collective.h, by which Regroup speaks; the server
 * includes nothing of the worker's. */
enum { ENGINE_SELF = 0, ENGINE_MPI = 1, ENGINE_NCCL = 2 };

/* A snapshot that members are pushing. */
struct core_snapshot {
    int is_pending;
    char name[JOURNAL_NAME_BYTES];
    uint64_t step;
    uint32_t lineage, shares;
    int64_t begin_ms;
    uint64_t *workers; /* [shares] who pushes which */
    struct schedule_state schedule;
};

/* By what the members of a generation find each other; kept to say it again. */
struct core_rendezvous {
    uint32_t length; /* 0: there is none */
    uint8_t id[MESSAGE_ID_BYTES];
};

/* How the present generation was told to form; kept to say it again. */
struct core_group {
    uint32_t engine; /* enum collective_engine */
    uint64_t nonce;
    int has_helpers; /* they were started and not stopped yet */
    struct core_rendezvous rendezvous;
    uint32_t source; /* enum state_source */
    uint32_t source_rank;
    char snapshot[JOURNAL_NAME_BYTES];
};

/* One of the present generation, as the journal knows it. */
struct core_member {
    uint64_t worker, boot;
    uint32_t pid;
    int is_gone; /* after a restart: its process is known to have ended */
    char name[ROSTER_NAME_BYTES];
};

/* Who computes how many slots; see deal.h. */
struct core_deal {
    uint32_t count;          /* members */
    uint32_t *starts;        /* [count + 1] from `step` on: member r computes slots [r]..[r+1] */
    uint32_t *starts_before; /* [count + 1] of the generation's steps before */
    uint64_t step;
    uint32_t wishes; /* steps in a row that asked for another one */
};

/* The generation that is prepared while the present one trains; see succession.h. */
enum next_state {
    NEXT_NONE,
    NEXT_PREPARING, /* its members form its collective */
    NEXT_AGREED,    /* they have: it takes over before `step` */
    NEXT_DOOMED,    /* agreed on and lost since: before `step` the present one ends all the same */
};

struct core_next {
    enum next_state state;
    uint32_t engine; /* enum collective_engine */
    uint32_t count;  /* members, by worker.next_rank */
    uint32_t ready_count;
    uint64_t generation, nonce;
    uint64_t step;    /* AGREED, DOOMED: the first that is not the present generation's */
    uint32_t *starts; /* AGREED: [count + 1] its deal, as core_deal's */
    struct core_rendezvous rendezvous;
    int64_t begin_ms;  /* when it was opened */
    int64_t told_ms;   /* the same by its members' clocks: gaps in our hearing do not move it */
    int64_t after_ms;  /* none is opened earlier */
    uint32_t failures; /* in a row */
};

/* How long steps took lately; see blame.h. */
enum { CORE_BLAME_STEPS = 64 };

struct core_blame {
    uint64_t count;                                  /* steps learned from */
    int64_t phase_us[CORE_BLAME_STEPS][PHASE_COUNT]; /* the slowest member; of IDLE: whole steps */
    uint32_t doublings; /* of the deadline, since the last committed step */
    uint64_t suspect;   /* the worker furthest behind, */
    int64_t suspect_ms; /* and since when */
    uint64_t told_step; /* 1 + the step whose standstill is in the event log */
    uint32_t told_attempt;
};

struct core_shard {
    char *path;
    uint64_t content_hash; /* 0: not known */
    int is_broken;
    int is_closed; /* nobody needs it, until a rollback opens it again; workers are told so */
};

/* A worker cannot reach a shard; see shard_records.h. */
struct core_complaint {
    uint64_t worker;
    uint32_t shard;
    int64_t since_ms;
    char reason[CORE_REASON_BYTES];
};

struct coordinator {
    const struct config *config;
    char *config_text;
    uint64_t entropy, boot, fingerprint;
    uint64_t fingerprint_before; /* of the server before, by the journal; 0: there was none */
    uint32_t config_since; /* the protocol a worker must speak to know every key of the config */
    uint64_t batch_images;

    uint64_t run, epoch;
    int has_run;
    uint32_t lineage;
    uint64_t step; /* committed steps */
    uint64_t generation;
    uint32_t member_count;       /* of it; 0 = it ended */
    struct core_member *members; /* [member_count] in order of rank */
    struct core_deal deal;       /* of it */
    int has_last;
    struct journal_step last; /* the verdict of step - 1; its skips are not kept */
    struct buf last_record;   /* of it, for its members to keep; empty: it is safe without them */
    struct schedule_state schedule;
    struct stream *stream;
    struct core_shard *shards; /* [stream_shard_count]; is_closed follows from the rest */
    uint32_t last_found;       /* by path; where the next search begins */
    struct stream_policy policy;
    struct quarantine quarantine;
    int is_paused;
    int is_stop_ordered; /* by an operator: holds until the run has ended */
    uint32_t discharge_count;
    struct journal_discharge discharges[CORE_DISCHARGES]; /* the oldest first */
    int has_initial; /* step 0 is what SNAPSHOT_INITIAL says; it is none of: */
    uint32_t snapshot_count;
    struct journal_snapshot snapshots[CORE_SNAPSHOTS]; /* rising steps, of this history */
    /* ---- */
    enum run_state state;
    struct actions *out;
    int64_t now_ms;
    struct roster roster;
    struct core_group group;
    struct core_next next;
    uint64_t generations;  /* the newest number given to one, present, next or dropped */
    uint32_t world_size;   /* members of the generation, 0 when there is none */
    struct message *votes; /* [world_size] Ready of each rank; kind 0 = none yet */
    uint64_t planned;      /* steps below are planned to this generation */
    uint64_t horizon; /* steps below may be planned to somebody: their images must not change */
    uint32_t attempt; /* of the present step */
    uint32_t unequal_digests;
    uint64_t nonces, sequence;
    uint64_t stale[STALE_KIND_COUNT]; /* messages refused */
    int is_initial_given;             /* before the start: coordinator_begin_with_initial */
    int is_severed; /* after a restart: the last generation's helpers have ended */
    int is_void;    /* after a restart: what the last generation was told holds no more */
    uint32_t complaint_count;
    struct core_complaint *complaints; /* [complaint_count, CORE_COMPLAINTS at most] */
    uint32_t fact_count; /* shards that the stores told of since this process began, or more */
    struct expiry_fact *facts; /* [fact_count] by id */
    struct core_snapshot snapshot;
    int is_snapshot_due; /* by every_steps: taken at the first boundary at which it can be */
    struct core_blame blame;
    int is_stop_restored;   /* is_stop_ordered, when this process began */
    int64_t start_ms;       /* when it began */
    int is_stopping;        /* an operator, or the last step, ends the run */
    int is_over;            /* ACTION_FINISHED was said */
    int closing_failures;   /* final snapshots that failed */
    int64_t state_ms;       /* when `state` began */
    int64_t told_ms;        /* when members were told to form, by their clocks: never forgiven */
    int64_t step_ms;        /* when the present step could begin */
    int64_t form_after_ms;  /* not earlier */
    uint32_t form_failures; /* in a row */
    int64_t deaf_ms;        /* for so long nobody was heard, beyond CORE_SILENT_MS */
    int64_t lonely_ms;      /* since when workers wait that hold no state; -1 = do not */
};

void core_set_state(struct coordinator *c, enum run_state state);
/* A message to this worker; what `message` points to is copied. Unreachable workers get none. */
void core_send(struct coordinator *c, const struct worker *worker, const struct message *message);
void core_send_to(struct coordinator *c, uint64_t connection, uint64_t worker,
                  const struct message *message);
/* Is this word about a generation and step of the past? Then it is counted, and means nothing. */
int core_refuses(struct coordinator *c, const struct message_header *header);
/* The verdict of step - 1 as members are to hear it; borrowed, until the next one is kept. */
struct message_verdict core_last_verdict(const struct coordinator *c);
/* This was decided last; the copy leaves out its skips. */
void core_keep_last(struct coordinator *c, const struct journal_step *step);
/* Appends the record; what it points to is copied. */
void core_journal(struct coordinator *c, const struct journal_record *record);
uint64_t core_nonce(struct coordinator *c);
/* Who has this rank in the present generation; members[] has room for it. */
void core_note_member(struct coordinator *c, uint32_t rank, const struct journal_member *member);
/* Holds, or can make by applying the last verdict, the state of the present step. */
int core_is_holder(const struct coordinator *c, const struct worker *worker);
/* Can those who are chosen make the state of the present step together? With a sharded momentum it
 * takes more than one holder. */
int core_is_covered(const struct coordinator *c, int (*is_chosen)(const struct worker *worker));
/* Is it in the present generation? A choice for core_is_covered. */
int core_is_member(const struct worker *worker);
/* A worker says what it has of a sharded momentum; count 0: all of it. */
void core_note_slices(struct worker *worker, uint32_t rank, uint32_t count);
/* Is it waiting for exactly the last verdict? */
int core_awaits_verdict(const struct coordinator *c, const struct worker *worker);

#endif
