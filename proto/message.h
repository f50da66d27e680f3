/* message.h - the words that server and workers exchange, as plain values.
 *
 * control.proto is the wire form; message.c alone knows the generated code. A struct message owns
 * all it points to (message_done frees). Every message carries the same header; whoever receives it
 * refuses what is stale (proto/PROTOCOL.md says what may come from whom in which state). Anything
 * decoded here has passed the limits below, but not yet the receiver's own judgement. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_MESSAGE_H
#define PROTO_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum {
    PROTOCOL_VERSION = 4,        /* protocol.h */
    PROTOCOL_VERSION_OLDEST = 4, /* that it still speaks: 3 computed other bits */
    MESSAGE_BYTES_MAX = 4 << 20, /* on the wire; larger is refused before unpacking */
    MESSAGE_MEMBERS_MAX = 1024,
    MESSAGE_SLOTS_MAX = 65536,
    MESSAGE_RECORDS_MAX = 262144, /* records of one plan */
    MESSAGE_SKIPS_MAX = 4096,
    MESSAGE_TEXT_MAX = 65536,
    MESSAGE_REPLY_MAX = 3 << 20, /* JSON of a reply */
    MESSAGE_SHARD_LIST_MAX = 65536,
    MESSAGE_PART_BYTES = 1 << 20, /* bytes of one snapshot part */
    MESSAGE_RECORD_BYTES = 4096,  /* of a verdict's record */
    MESSAGE_ID_BYTES = 128,       /* of a rendezvous */
};

/* Fields that do not apply to a message are 0. */
struct message_header {
    uint64_t run;     /* random identity of the run */
    uint64_t epoch;   /* counts starts of the coordinator */
    uint32_t lineage; /* counts restores from a snapshot older than the journal */
    uint64_t generation;
    uint64_t step;     /* the step it is about (0-based; committed steps = next step to do) */
    uint32_t attempt;  /* how often this step was planned before */
    uint64_t worker;   /* identity the worker drew at random when its process started */
    uint64_t sequence; /* counts the sender's messages */
};

enum message_kind {
    /* worker -> server */
    MESSAGE_HELLO = 1,
    MESSAGE_HEARTBEAT = 2,
    MESSAGE_FORMED = 3,
    MESSAGE_READY = 4,
    MESSAGE_BROKEN = 5,
    MESSAGE_LEAVE = 6,
    MESSAGE_BYE = 7,
    MESSAGE_SNAPSHOT_PART = 8,
    MESSAGE_SNAPSHOT_READ = 9,
    MESSAGE_PREPARED = 10,
    MESSAGE_SHARD_UNREADABLE = 11,
    MESSAGE_RENDEZVOUS = 12, /* and back, to the other members */
    /* server -> worker */
    MESSAGE_WELCOME = 20,
    MESSAGE_REJECT = 21,
    MESSAGE_REGROUP = 22,
    MESSAGE_PLAN = 23,
    MESSAGE_VERDICT = 24,
    MESSAGE_DISMISS = 25,
    MESSAGE_SNAPSHOT_BEGIN = 26,
    MESSAGE_SNAPSHOT_ACK = 27,
    MESSAGE_SNAPSHOT_DATA = 28,
    MESSAGE_SHARDS = 29,
    MESSAGE_PREPARE = 30,
    /* operator <-> server */
    MESSAGE_COMMAND = 40,
    MESSAGE_REPLY = 41,
};

/* What the training thread is doing, for heartbeats and blame. In the order of a step. */
enum worker_phase {
    PHASE_IDLE = 0,
    PHASE_FORM, /* forming the collective, receiving state */
    PHASE_DATA, /* waiting for the batch */
    PHASE_FORWARD,
    PHASE_LOSS, /* Sinkhorn and loss */
    PHASE_BACKWARD,
    PHASE_REDUCE, /* waiting for the last gradients */
    PHASE_READY,  /* waiting for the verdict */
    PHASE_APPLY,
    PHASE_COUNT,
};

/* First word of a worker, again after every reconnect. The header's step, lineage and generation
 * say what it holds. */
struct message_hello {
    uint32_t protocol; /* the newest it speaks */
    char *name;        /* for people, unique among live workers: the server may append -2 */
    char *host;
    uint64_t boot; /* hash of the host's boot id: same value = same kernel, pids comparable */
    uint32_t pid;
    char *device;         /* device.h name */
    char *version;        /* program version */
    char *helper_address; /* Unix socket where a collective helper finds it; "" = none */
    uint64_t fingerprint; /* config_fingerprint it runs with; 0 = none yet */
    int has_state;        /* holds parameters of header.step */
    uint64_t digest;      /* of those parameters */
    int is_ready_pending; /* has sent Ready for header.step and awaits its verdict */
    /* The record that came with the verdict which led to header.step; none, if the state came
     * another way. A server whose host fell learns from it what it had decided. */
    uint32_t record_length;
    uint8_t *record;
    /* What it has of a sharded momentum of header.step (common/slice.h); count 0: all of it. */
    uint32_t slice_rank, slice_count;
    uint32_t protocol_oldest; /* that it speaks too; 0: it knows of no range */
};

/* A GPU as its driver sees it; -1: not told. */
struct message_gpu {
    int64_t utilization_percent;
    int64_t memory_used_bytes, memory_total_bytes; /* of all processes */
    int64_t temperature_c, power_mw;
    int64_t ecc_errors; /* uncorrected ones, since the driver was loaded */
    int64_t xid;        /* number of the last fault since the worker began; 0: none */
};

/* What a worker sees of a collapse in samples of its own share, one every 25 steps
 * (worker/learning.h); 0: not known yet, or not at all. */
struct message_learning {
    uint64_t step;            /* of the newest sample */
    uint32_t prototypes;      /* K */
    uint32_t prototypes_used; /* of them, by the last `assignments` images; the others are dead */
    uint64_t assignments;     /* grows to 10 K */
    double usage_entropy;     /* of how images spread over prototypes / ln K: 1 evenly, 0 all on one
                               */
    double codes_entropy;     /* mean of an image's codes / ln K: 0 sure, 1 says nothing */
    uint64_t embedding;       /* its length, the most that its rank can be */
    double embedding_rank;    /* exp of the entropy of singular values: RankMe */
    double embedding_spread; /* root of the summed variances: 0 all embeddings are one, 1 healthy */
    double weight_norm;      /* of all weights */
    double trust_least, trust_median; /* larc's ratios over tensors, unclipped */
};

struct message_heartbeat {
    uint32_t phase;    /* enum worker_phase of the training thread */
    uint64_t progress; /* counted up by the training thread */
    int64_t phase_ms;  /* how long it has been in this phase */
    double images_per_second;
    uint64_t memory_bytes;
    uint64_t operations; /* collective operations it has called in header.generation */
    int64_t helper_ms; /* how long its helper has given no sign of life; 0 = it does, or is none */
    int is_warm;       /* has computed a step, or rehearsed one: nobody waits for its first time */
    uint32_t slice_rank, slice_count; /* as in a Hello */
    int has_gpu;
    struct message_gpu gpu;
    int has_learning;
    struct message_learning learning;
};

/* Member has formed the collective and holds the state of header.step. */
struct message_formed {
    uint64_t digest; /* parameters, momentum, statistics */
};

struct message_skip {
    uint32_t shard, record;
    uint64_t position;
    char *reason;
};

/* Vote for a step: all is computed, nothing is applied. */
struct message_ready {
    int is_finite;
    double loss;               /* mean over the whole batch: the same number from every member */
    double grad_norm;          /* likewise */
    uint32_t images;           /* of this member's slots */
    uint64_t digest;           /* of the reduced gradient */
    uint64_t parameter_digest; /* of the parameters before this step; 0 when not asked for */
    int64_t phase_us[PHASE_COUNT]; /* time spent by phase */
    int64_t compute_us; /* its own time for its slots, without waiting for others; 0 = unknown */
    uint32_t skip_count;
    struct message_skip *skips;
    /* Images that nothing stands for, since no record of their slot can be decoded, and bad records
     * that there was no room for in skips: a step with any must not be committed. */
    uint32_t unaccounted;
};

/* A collective failed or could not be formed: this generation is over for the sender. */
struct message_broken {
    char *reason;
    uint32_t slice_rank, slice_count; /* as in a Hello */
};

/* The sender cannot read a shard that it was told of, and does not go on with plans that need it
 * before it is told whether the shard is still needed. */
struct message_shard_unreadable {
    uint32_t shard;
    int is_damaged;      /* it was read and is no whole shard; 0: it cannot be reached */
    uint32_t open_count; /* other shards that the sender can read */
    char *reason;
};

/* The worker wants to go (SIGTERM): finish what is planned for it, then dismiss it. */
struct message_leave {
    char *reason;
};

struct message_welcome {
    char *name;   /* its name as the server knows it */
    char *config; /* YAML of the run */
    uint32_t heartbeat_ms, lost_ms;
    uint32_t protocol; /* that both speak from now on; 0: the server knows of no range */
    uint32_t slots;    /* of a step that a newcomer may expect to compute; 0: nobody knows */
};

struct message_reject {
    char *reason;    /* for people: what is wrong and the remedy */
    int is_final;    /* 1: do not come back */
    int is_accident; /* of a final one: a new process in its place is welcome */
};

enum state_source {
    STATE_KEEP = 0,     /* every member holds it already */
    STATE_INIT = 1,     /* nobody does: initial parameters from the seed */
    STATE_MEMBER = 2,   /* broadcast from member source_rank */
    STATE_SNAPSHOT = 3, /* rank 0 reads snapshot_name from the server, then broadcasts */
};

struct message_member {
    uint64_t worker;
    char *name;
};

/* On header.step, for members of header.generation that have voted for it. */
struct message_verdict {
    int is_commit; /* 0: skip, the stream moves on and no parameter changes */
    double lr;
    uint32_t record_length; /* 0: it was safe on the server's disk before it was said */
    uint8_t *record;        /* of it, as the server's journal has it, to be kept for a Hello */
};

/* header.generation is formed by these members, ranks in this order, holding the state of
 * header.step (committed steps so far). If has_verdict, a survivor that still holds the reduced
 * gradient of step header.step - 1 does first what the verdict says. */
struct message_regroup {
    uint32_t engine; /* enum collective_engine */
    uint64_t nonce;
    uint32_t rank, member_count;
    struct message_member *members;
    uint32_t source; /* enum state_source */
    uint32_t source_rank;
    char *snapshot_name;
    int has_verdict;
    struct message_verdict verdict;
};

/* Form the collective of header.generation beside the present one and keep it: a Regroup of the
 * same generation and nonce takes it over. Its plans may come before that. */
struct message_prepare {
    uint32_t engine; /* enum collective_engine */
    uint64_t nonce;
    uint32_t rank, member_count;
    struct message_member *members;
};

/* The collective of header.generation stands, in waiting. */
struct message_prepared {
    uint64_t nonce; /* of the Prepare */
};

struct message_slot {
    uint32_t slot;
    uint64_t position;
};

/* By what the members of header.generation find each other, where the engine wants that: made by
 * rank 0, passed on by the server. */
struct message_rendezvous {
    uint64_t nonce; /* of the Regroup or Prepare */
    uint32_t length;
    uint8_t *id;
};

/* Slots of this member in header.step. */
struct message_plan {
    uint32_t slot_count;
    struct message_slot *slots;
    uint32_t slot_images;
    uint32_t slots_in_step;     /* of all members */
    uint32_t record_count;      /* slot_count * slot_images */
    uint32_t *shards, *records; /* [record_count] */
    int wants_parameter_digest;
};

/* Leave: exit 0 after this. */
struct message_dismiss {
    char *reason;
};

struct message_shard {
    uint32_t id;
    char *path;
    uint64_t records;
    uint64_t content_hash; /* XXH3-64 of data.mdb by its manifest; 0: not known */
};

/* Where shards are; sent before any plan that needs them. Of the ids in [from, until) exactly these
 * are needed, by rising id: the others are to be closed. */
struct message_shards {
    uint32_t from, until;
    uint32_t shard_count;
    struct message_shard *shards;
};

/* Copy the state of header.step at the next boundary and push share `share` of `share_count`. */
struct message_snapshot_begin {
    char *name;
    uint32_t share, share_count;
    /* Of a sharded momentum, cut into slice_count (0: it is not), this share has `slice`, and the
     * one before it as well if nobody else pushes that. */
    uint32_t slice, slice_count;
    int has_slice_before;
};

/* Bytes [offset, offset+length) of the snapshot's file of total bytes. */
struct message_snapshot_part {
    char *name;
    uint64_t offset, total;
    uint64_t checksum; /* hash_bytes of data */
    uint32_t length;
    uint8_t *data;
};

struct message_snapshot_ack {
    char *name;
    uint64_t offset; /* of the part that is written */
};

struct message_snapshot_read {
    char *name;
    uint64_t offset;
    uint32_t length;
};

/* Operator: name and arguments, a JSON object as text; answered by a reply. */
struct message_command {
    uint64_t request;
    char *name;
    char *arguments;
};

struct message_reply {
    uint64_t request;
    uint32_t status; /* enum status */
    char *body;      /* JSON on OK, words for people otherwise */
};

struct message {
    enum message_kind kind;
    struct message_header header;
    union {
        struct message_hello hello;
        struct message_heartbeat heartbeat;
        struct message_formed formed;
        struct message_ready ready;
        struct message_broken broken;
        struct message_leave leave;
        struct message_welcome welcome;
        struct message_reject reject;
        struct message_regroup regroup;
        struct message_prepare prepare;
        struct message_prepared prepared;
        struct message_rendezvous rendezvous;
        struct message_plan plan;
        struct message_verdict verdict;
        struct message_dismiss dismiss;
        struct message_shards shards;
        struct message_shard_unreadable shard_unreadable;
        struct message_snapshot_begin snapshot_begin;
        struct message_snapshot_part snapshot_part; /* also SNAPSHOT_DATA */
        struct message_snapshot_ack snapshot_ack;
        struct message_snapshot_read snapshot_read;
        struct message_command command;
        struct message_reply reply;
    };
};

/* Packs into out (appended). ERR_INPUT beyond MESSAGE_BYTES_MAX. */
enum status message_encode(const struct message *message, struct buf *out);
/* Unpacks hostile bytes: size first, then a budgeted allocator, then every limit above.
 * ERR_PROTOCOL with what was wrong. On OK the caller owns *ret_message (message_done). */
enum status message_decode(const void *bytes, size_t length, struct message *ret_message);
/* Frees what it points to; the struct itself is the caller's. A zeroed message is fine. */
void message_done(struct message *message);
/* A deep copy. */
void message_copy(const struct message *from, struct message *ret_copy);
const char *message_kind_name(enum message_kind kind);
const char *phase_name(enum worker_phase phase);

#endif
