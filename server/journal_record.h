/* journal_record.h - what the server writes down before it acts: the entries of the journal.
 *
 * The journal is the only truth about a run: a step exists when its record is written. Records are
 * plain values in the order they were appended; a restart hands every one of them to
 * coordinator_restore. A record that is copied or decoded owns what it points to
 * (journal_record_done frees). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_JOURNAL_RECORD_H
#define SERVER_JOURNAL_RECORD_H

#include <stdint.h>

#include "proto/message.h"
#include "server/expiry.h"
#include "server/schedule.h"
#include "server/stream.h"

enum journal_kind {
    JOURNAL_START = 1,      /* a coordinator started; first record of every epoch */
    JOURNAL_SHARD = 2,      /* a shard became known */
    JOURNAL_RETIRE = 3,     /* a shard is to be trained on no more */
    JOURNAL_ENTRY = 4,      /* an entry of the stream's catalogue */
    JOURNAL_GENERATION = 5, /* a generation is being formed, or (no members) the last one ended */
    JOURNAL_STEP = 6,       /* the verdict of a step: the point of no return */
    JOURNAL_SNAPSHOT = 7,   /* a snapshot is complete in the parameter store; of step 0 and called
                               SNAPSHOT_INITIAL: the run begins with it */
    JOURNAL_ROLLBACK = 8,   /* steps from `step` on are void; the next lineage begins there */
    JOURNAL_PAUSE = 9,      /* an operator paused or resumed the run */
    JOURNAL_DEAL = 10,      /* how many slots each member of the generation computes from now on */
    JOURNAL_DISCHARGE = 11, /* an operator sends a worker away */
    JOURNAL_SNAPSHOT_REMOVED = 12, /* a complete snapshot is about to be removed */
    JOURNAL_STOP = 13,             /* an operator ends the run, or: it has ended */
    JOURNAL_POLICY = 14,           /* an operator's policy for the stream */
    JOURNAL_KIND_LAST = JOURNAL_POLICY,
};

enum { JOURNAL_NAME_BYTES = 64 };

struct journal_start {
    uint64_t run, epoch;
    uint64_t seed;        /* of the stream's order */
    uint64_t fingerprint; /* config_fingerprint of the config it started with */
    uint64_t boot;        /* of its host, as message_hello's: another than before tells of a fall */
    /* What the meaning of positions rests on; it cannot change within a run. */
    uint32_t batch_images, slot_images, block_records, window_blocks;
};

struct journal_shard {
    uint32_t id; /* dense, counted from 0 */
    uint64_t records;
    char *path;
    uint64_t content_hash; /* as store.h has it; 0: not known */
};

struct journal_retire {
    uint32_t shard;
    int is_broken; /* from the present step on all its records count as bad; again is fine */
};

struct journal_member {
    uint64_t worker;
    char *name;
    uint64_t boot; /* with pid: the process, to see after a restart who is dead; 0 = not known */
    uint32_t pid;
};

struct journal_generation {
    uint64_t generation;
    uint64_t step; /* committed steps when it began */
    uint32_t member_count;
    struct journal_member *members; /* in order of rank */
};

struct journal_step {
    uint64_t step, generation, epoch;
    uint32_t lineage, attempt;
    uint32_t world_size;
    int is_commit;     /* 0: skipped, no parameter changed; its images count as passed over */
    uint64_t position; /* of its first image; it takes [position, position + images) */
    uint32_t images;
    double lr, loss, grad_norm;
    uint64_t digest;           /* of the reduced gradient, the same on all members */
    uint64_t parameter_digest; /* of the parameters before the step; 0 = was not asked for */
    uint32_t unequal_digests;  /* disagreements seen since the previous record of a step */
    int64_t step_ms, data_wait_ms;
    int64_t phase_us[PHASE_COUNT];  /* the slowest member of each phase */
    struct schedule_state schedule; /* after this step */
    uint32_t skip_count;            /* quarantined: positions whose record could not be decoded */
    struct message_skip *skips;
};

struct journal_snapshot {
    uint64_t step;
    uint32_t lineage;
    char name[JOURNAL_NAME_BYTES];
    struct schedule_state schedule; /* as it was at `step` */
};

struct journal_rollback {
    uint64_t step;                     /* first void step */
    uint32_t lineage;                  /* the new one */
    char snapshot[JOURNAL_NAME_BYTES]; /* where state comes from; "" = what the run began with */
    struct schedule_state schedule;    /* as it was at `step` */
};

struct journal_pause {
    int is_paused;
};

struct journal_deal {
    uint64_t step; /* the first one that is planned by it */
    uint32_t count;
    uint32_t *slots; /* [count] of each member, in order of rank */
};

struct journal_discharge {
    uint64_t worker;
    int is_evicted; /* at once, and for good; otherwise it drains */
    char name[JOURNAL_NAME_BYTES];
};

struct journal_removed {
    char name[JOURNAL_NAME_BYTES];
};

struct journal_stop {
    int is_stopping;
};

struct journal_record {
    enum journal_kind kind;
    union {
        struct journal_start start;
        struct journal_shard shard;
        struct journal_retire retire;
        struct stream_entry entry;
        struct journal_generation generation;
        struct journal_step step;
        struct journal_snapshot snapshot;
        struct journal_rollback rollback;
        struct journal_pause pause;
        struct journal_deal deal;
        struct journal_discharge discharge;
        struct journal_removed removed;
        struct journal_stop stop;
        struct stream_policy policy;
    };
};

/* A deep copy; the copy owns what it points to. */
void journal_record_copy(const struct journal_record *from, struct journal_record *ret_copy);
/* Frees what it points to; the struct itself is the caller's. */
void journal_record_done(struct journal_record *record);
/* May the record be sent about before it is safe from a fall of the host? A verdict may, if it
 * quarantines nothing: its members carry it with them (message_verdict) and bring it back. */
int journal_record_may_lag(const struct journal_record *record);
/* "start", "step", ... for logs and the audit. */
const char *journal_kind_name(enum journal_kind kind);

#endif
