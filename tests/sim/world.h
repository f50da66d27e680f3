/* world.h - a whole run in one thread: virtual clock, network, disk, workers, faults.
 *
 * The coordinator and the members are the real pure code; everything around them is made up from
 * one seed. A server is killed between any two of its actions and finds again only what it had
 * journaled; workers are killed, stalled and cut off at any time; messages are late and come twice.
 * Parameters are a hash of all that was ever applied. After every event oracle.c looks at the whole
 * world at once, which no real process could. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdint.h>

#include "common/config.h"
#include "common/random.h"
#include "server/coordinator.h"
#include "server/stream.h"
#include "worker/member.h"

enum {
    WORLD_WORKERS = 6, /* places for worker processes */
    WORLD_JOBS = 64,
    WORLD_PLANS = 64,
    WORLD_SLOTS_MAX = 16,
    WORLD_SLOT_IMAGES = 2,
    WORLD_BATCH_MAX = WORLD_SLOTS_MAX * WORLD_SLOT_IMAGES,
    WORLD_STEPS_MAX = 2048,
    WORLD_EVICTED_MAX = 64,
    WORLD_VOTES = 256, /* workers of the past whose last vote is remembered */
    WORLD_SHARDS_MAX = 64,
    WORLD_HEARD = 5,      /* one life in so many is audited: that takes a third of living it */
    WORLD_FIRST_BOOT = 1, /* of the host on which the server begins, and workers of even places */
};

/* Bugs to plant, to see that they are found. */
enum world_bug {
    BUG_NONE,
    BUG_SEND_BEFORE_JOURNAL,   /* the server speaks before its record is durable */
    BUG_APPLY_WITHOUT_VERDICT, /* a worker believes its collective */
    BUG_COUNT_STALE_VOTES,     /* the server takes a Ready of the past for one of the present */
    BUG_ACCUSE,                /* the server believes that somebody died who did not */
    BUG_OWN_WORD,              /* a worker passes over a shard on its own word alone */
    BUG_SPOIL_SNAPSHOT,        /* a snapshot is not what its members sent */
    BUG_KEEP_NO_SLICE,         /* members that shard their momentum keep nothing of it */
};

struct model {
    uint64_t hash, step;
    uint32_t lineage;
    int is_valid;
    /* With optimizer.sharded: the slices that are kept; the whole of it is there, since a verdict
     * or forming. */
    struct slice_holding slices;
    int is_whole;
};

struct job {
    enum member_action_kind kind;
    uint64_t ticket, step;
    double lr;
    int wants_parameter_digest, exit_code, takes_over;
    struct message message;
};

/* What a worker's third thread does: the next generation's collective; generation 0 = nothing. */
struct preparation {
    uint64_t generation, nonce, ticket;
    uint32_t size;
    int has_met;   /* its helper has called */
    int is_formed; /* it stands, in waiting */
    uint64_t run;  /* names it, to know its end from older ones */
};

/* One process of a worker. */
struct sim_worker {
    int is_alive;
    int place;
    uint64_t id;
    struct member *member;
    uint64_t connection;   /* 0 = cut off */
    int64_t stalled_until; /* the whole process stands still */
    int64_t hung_until;    /* its training thread does */
    int64_t suspect_until; /* what goes or went wrong with it may look like its death until then */
    int wants_to_leave;    /* it was asked to, by its own SIGTERM or by an operator */
    uint64_t roster_life;  /* the server that has it in its roster; 0 = none */
    uint64_t epoch;        /* the newest it has heard of */
    uint64_t newest_group; /* generation of the newest collective it was seen in */
    struct model model;
    uint64_t gradient; /* what the last COMPUTE left */
    struct {
        uint64_t generation;
        uint32_t rank, size;
    } group; /* the collective it has formed */
    uint32_t job_count;
    struct job jobs[WORLD_JOBS];  /* the first one runs */
    int is_running, is_abandoned; /* the first job runs; but nobody wants it any more */
    int has_met;                  /* it takes part in the meeting of its job */
    int64_t compute_ms;           /* that its last COMPUTE took, without the meeting */
    uint64_t run_count;           /* names the running job, to know its end from older ones */
    uint64_t beats;               /* heartbeats said: some need a few until they are warm */
    struct preparation preparation;
    uint32_t plan_count;
    struct message plans[WORLD_PLANS];
    uint64_t known_at[WORLD_PLANS]; /* known_shards when it came */
    uint64_t known_shards;          /* a bit for each that the server said is needed */
    uint64_t blind_to;              /* these it cannot read, though others can */
    int waits_for_shard;            /* its job does */
};

/* Members that form a collective beside the present one. */
struct rehearsal {
    uint64_t generation, nonce;
    uint32_t size, arrived;
    int is_doomed;
};

/* Members of a generation that meet in one collective operation. */
struct meeting {
    uint64_t generation, step;
    int is_forming, is_doomed;
    uint32_t size, arrived;
    uint64_t base; /* hash of the state that all must share, or of the source */
    int has_base;
    uint64_t gradient;
    struct slice_holding holdings[WORLD_SLOTS_MAX]; /* forming, by rank: of the momentum */
    struct message plans[WORLD_SLOTS_MAX];          /* by rank */
    struct {
        uint64_t worker, run;
    } guests[WORLD_SLOTS_MAX];
};

enum {
    HISTORY_SNAPSHOTS = 64,
    WORLD_MEETINGS = 64,
    WORLD_REHEARSALS = 8,
    WORLD_LAUNCHES = 2, /* of helpers, at once */
};

/* What a worker said last: no step may be committed without it. */
struct vote {
    uint64_t worker, generation, step, digest;
    uint32_t lineage;
};

struct stored_snapshot {
    char name[JOURNAL_NAME_BYTES];
    uint64_t step, hash;
};

struct testimony;  /* testimony.c */
struct heap_entry; /* an event that is yet to come; agenda.c */

struct world {
    uint64_t seed;
    enum world_bug bug;
    int is_verbose;
    struct random random;
    struct config config;
    uint64_t fingerprint;           /* of it */
    uint32_t slots;                 /* 5 or 16: with fewer than workers one may have to stand by */
    uint32_t batch;                 /* images of a step */
    int64_t slot_ms[WORLD_WORKERS]; /* longest time that a worker at this place takes for a slot */
    int64_t now;
    uint64_t event_count, order;
    uint32_t heap_count, heap_capacity;
    struct heap_entry *heap;

    struct testimony *testimony;     /* what all workers ever wrote down; NULL: nobody asks them */
    struct coordinator *coordinator; /* NULL = dead */
    uint64_t server_life;            /* counts its processes */
    uint32_t journal_count, journal_capacity;
    struct journal_record *journal;
    int is_finished;
    uint64_t boot; /* of the server's host */
    struct {
        int is_unsettled;         /* the journal's last record would not survive a fall */
        int64_t settles_ms;       /* the last moment of that */
        int is_lost;              /* one did not, and its step is not decided again yet */
        struct journal_step step; /* that one; its skips are none */
        uint64_t hash;            /* of the state it led to */
    } late;

    struct sim_worker workers[WORLD_WORKERS];
    uint64_t worker_ids, connections;
    int64_t link_ms[WORLD_WORKERS][2]; /* when the last message of each direction arrives */
    struct meeting meetings[WORLD_MEETINGS];
    uint32_t meeting_next;
    struct rehearsal rehearsals[WORLD_REHEARSALS];
    uint32_t rehearsal_next;
    uint64_t launches[WORLD_LAUNCHES]; /* generations whose helpers run; 0 = none */
    uint64_t next_generation;          /* whose helpers were started last */

    struct stored_snapshot initial; /* what the run begins with; name "" = random parameters */
    uint32_t stored_count;
    struct stored_snapshot stored[HISTORY_SNAPSHOTS];
    struct {
        int is_pending;
        char name[JOURNAL_NAME_BYTES];
        uint64_t step, hash, generation;
        uint32_t shares, arrived;
        uint64_t slices, came; /* a bit for each slice, and each share, that has come */
    } pushing;

    uint32_t shard_count; /* made so far */
    int64_t faults_until;
    double fault_rate;
    int is_calm;     /* no more faults: the rest must go well */
    int is_peaceful; /* workers come and go as planned, nobody dies: no step may be aborted */

    /* What the oracle knows: the history that the journal says survives. */
    uint64_t hashes[WORLD_STEPS_MAX];    /* [step] state after that many committed steps */
    uint64_t gradients[WORLD_STEPS_MAX]; /* by step: digest of the verdict */
    uint64_t committed, epoch, generation;
    uint32_t lineage;
    uint32_t evicted_count;
    uint64_t evicted[WORLD_EVICTED_MAX]; /* workers that may never be let in again */
    struct schedule_state schedules[WORLD_STEPS_MAX + 1]; /* [step] after that many steps */
    int is_skipped[WORLD_STEPS_MAX];
    uint64_t skips[WORLD_STEPS_MAX]; /* sum over the quarantined of a hash of each */
    uint32_t member_count;
    uint64_t members[WORLD_SLOTS_MAX]; /* of the generation in the journal */
    struct vote votes[WORLD_VOTES];    /* [worker % WORLD_VOTES] */
    uint64_t horizon;                  /* steps below may be planned: their images are settled */
    int is_retiring[WORLD_SHARDS_MAX]; /* its retirement is journaled, the catalogue knows it not */
    uint64_t
        broken_from[WORLD_SHARDS_MAX]; /* 1 + step from which all its records are bad; 0: none */
    uint64_t retired_from[WORLD_SHARDS_MAX]; /* position from which no image of it may come */
    int64_t flipped_ms;                      /* when the last bit flipped */
    uint64_t commits, kills, server_kills, rollbacks, deals, takeovers, witnessed, falls, recovered,
        broken, closed; /* for the summary */
};

/* A broken promise ends the program: prints seed and what broke. */
void world_violation(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3), noreturn));
void world_trace(struct world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

struct world *world_create(uint64_t seed, enum world_bug bug, int is_verbose);
/* Lives through faults, then demands progress. */
void world_run(struct world *world);
/* Nothing goes wrong, but the worker at the first place takes slot_ms for a slot, the others
 * WORLD_CALM_SLOT_MS. Returns the time of a step once all has settled. */
enum { WORLD_CALM_SLOT_MS = 20 };
double world_run_calmly(struct world *world, int64_t slot_ms);
void world_destroy(struct world *world);

/* Random helpers. */
int64_t world_delay(struct world *world, int64_t longest_ms);
int world_chance(struct world *world, double probability);

/* crew.c: the workers' side. */
void crew_start(struct world *world, int place);
void crew_kill(struct world *world, int place);
void crew_connect(struct world *world, int place);
void crew_handle(struct world *world, int place, const struct member_event *event);
void crew_tick(struct world *world, int place);
void meeting_done(struct meeting *meeting);
/* What a worker has of a sharded momentum. */
struct slice_holding crew_holding(const struct sim_worker *worker);
/* NULL = no snapshot of that name. */
const struct stored_snapshot *crew_find_stored(const struct world *world, const char *name);
void crew_job_done(struct world *world, int place, uint64_t run, int is_failed);
/* rehearsal.c: the same for the next generation, in the background. */
void rehearsal_begin(struct world *world, struct sim_worker *worker,
                     const struct member_action *action);
/* What is prepared or being prepared comes to nothing, for the others too. */
void rehearsal_leave(struct world *world, struct sim_worker *worker);
void rehearsal_end(struct world *world, int place, uint64_t run, int is_failed);
/* A prepared generation begins. 0: its helpers are gone meanwhile. */
int rehearsal_take(struct world *world, struct sim_worker *worker, const struct message *regroup);
/* generation 0: all of them, with their server. */
void rehearsal_helpers_start(struct world *world, uint64_t generation);
void rehearsal_helpers_stop(struct world *world, uint64_t generation);
/* mounts.c: which shards a worker can read. */
int mounts_is_readable(const struct world *world, const struct sim_worker *worker, uint32_t shard);
void mounts_lose_some(struct world *world, struct sim_worker *worker);
void mounts_hear(struct world *world, struct sim_worker *worker,
                 const struct message_shards *shards);
void mounts_complain(struct world *world, struct sim_worker *worker, uint32_t shard);
int mounts_is_bad(const struct world *world, const struct sim_worker *worker, uint64_t known_shards,
                  uint32_t shard, uint32_t record);
int mounts_must_wait(const struct world *world, struct sim_worker *worker,
                     const struct message_plan *plan);
/* world.c for crew.c. */
void world_preparation_ends(struct world *world, int place, uint64_t run, int is_failed,
                            int64_t after_ms);
void world_send_to_server(struct world *world, int place, const struct message *message);
void world_job_ends(struct world *world, int place, uint64_t run, int is_failed, int64_t after_ms);
void world_shard_fails_in(struct world *world, int64_t ms, int place, uint32_t shard);
void world_first_tick(struct world *world, int place);

/* fall.c: what the journal has not flushed goes with the server's host. */
void fall_note(struct world *world, const struct journal_record *record); /* it was written */
/* This action is next: it may wait for the flushes, or their time is over. */
void fall_settle(struct world *world, const struct action *before);
/* While something is unsettled; the server dies with it, at the caller's hand. */
void fall_happen(struct world *world);
/* Has this model obeyed the verdict that was lost? */
int fall_explains(const struct world *world, const struct model *model);
/* A step is journaled: is it the lost one, brought back? */
int fall_heals(struct world *world, const struct journal_step *step);

/* world.c for faults.c. */
void world_reconnects_in(struct world *world, int64_t ms, int place);
void world_tells_death_in(struct world *world, int64_t ms, int place, uint64_t worker);

/* faults.c: one of them, at random; or a change that nobody should notice. */
void faults_happen(struct world *world);
void faults_change_peacefully(struct world *world);

/* oracle.c */
uint64_t oracle_first_hash(void);
uint64_t oracle_apply(uint64_t hash, uint64_t step, int is_commit, uint64_t gradient, double lr);
void oracle_journal(struct world *world, const struct journal_record *record);
/* The server has sent this. */
void oracle_sent(struct world *world, const struct message *message);
/* A member of `generation` has heard this and answered with so many actions. */
void oracle_heard(struct world *world, struct sim_worker *worker, const struct message *message,
                  uint64_t generation, uint32_t action_count);
/* Is it a vote that must not count now? */
int oracle_is_stale(const struct world *world, const struct message *message);
/* Messages that the server has refused as stale; 0 while it is dead. */
uint64_t oracle_stale_count(const struct world *world);
/* The server has heard that vote, having refused so many before. */
void oracle_disbelieved(struct world *world, const struct message *ready, uint64_t stale_count);
/* A worker says Ready. */
void oracle_note_vote(struct world *world, const struct message *ready);
int oracle_is_bad(uint32_t shard, uint32_t record);
/* A worker has computed with a plan, knowing these shards when it came. */
void oracle_check_known(struct world *world, const struct sim_worker *worker,
                        const struct message_plan *plan, uint64_t known_shards);
void oracle_look(struct world *world);
/* The plans of all members are whole: every slot of the step once, as the catalogue says. */
uint64_t oracle_gradient(struct world *world, const struct meeting *meeting);
/* At the end: every trained position had the record that the catalogue in the journal names. */
void oracle_audit(struct world *world);

/* testimony.c: the workers' own journals, as worker/worker_journal.c writes them. Without a
 * testimony nothing is written or heard. */
struct testimony *testimony_create(void);
void testimony_destroy(struct testimony *testimony);
/* A worker has formed its group and holds this model; it has computed a step of it up to the vote;
 * that step is applied or skipped. */
void testimony_state(struct world *world, const struct sim_worker *worker);
void testimony_remember(struct world *world, const struct sim_worker *worker,
                        const struct message *plan, uint64_t known_shards, uint64_t digest);
void testimony_step(struct world *world, const struct sim_worker *worker, int is_applied);
/* At the end: `seer audit` must find nothing. */
void testimony_hear(struct world *world, const struct stream *stream);

#endif
