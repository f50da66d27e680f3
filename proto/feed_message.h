/* feed_message.h - what the status feed says, as plain values; status.proto is the wire form. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_FEED_MESSAGE_H
#define PROTO_FEED_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"
#include "proto/message.h"

enum feed_kind {
    FEED_STEP,
    FEED_WORKER,
    FEED_STREAM,
    FEED_EVENT,
    FEED_SNAPSHOT,
    FEED_SERVER,
    FEED_KIND_COUNT
};

enum { FEED_BYTES_MAX = 1 << 20 };

struct feed_step {
    uint64_t step, generation;
    uint32_t lineage, world_size, images;
    int is_commit;
    double loss, lr, grad_norm, step_ms, data_wait_ms;
    uint64_t digest;
    int64_t phase_us[PHASE_COUNT]; /* of the slowest member in each */
};

struct feed_worker {
    char *name;
    uint64_t worker;
    uint32_t pid;
    char *host, *device, *state;
    int64_t rank; /* -1: not a member */
    uint64_t step;
    char *phase;
    double images_per_second;
    uint64_t memory_bytes;
    int64_t heartbeat_age_ms;
    uint64_t images_trained;       /* in committed steps since it joined */
    int64_t phase_us[PHASE_COUNT]; /* of its last step */
    /* As struct message_gpu has them; -1: not told. */
    int64_t gpu_utilization_percent, gpu_memory_used_bytes, gpu_temperature_c, gpu_power_mw;
    int64_t gpu_ecc_errors, gpu_xid;
    char *version;     /* of its program */
    uint32_t protocol; /* that it speaks with the server */
};

struct feed_stream {
    uint64_t position;
    uint32_t shards;
    uint64_t backlog_images;
    int64_t newest_wall_ms; /* when the newest shard was sealed; 0: none yet */
};

struct feed_event {
    char *name;
    char *text; /* key=value ... */
    int is_warning;
    uint64_t number; /* of its line in events.jsonl */
};

struct feed_snapshot {
    char *name;
    uint64_t step, bytes;
    int is_complete;
    char *reason;
};

/* stale_*: messages of the past that the server refused since it started; as server/stale.h. Times
 * are of this start: uptime, and what of it went into committed steps. */
struct feed_server {
    char *state;
    uint64_t stale_run;
    uint64_t stale_epoch;
    uint64_t stale_incarnation;
    uint64_t stale_lineage;
    uint64_t stale_generation;
    uint64_t stale_step;
    uint64_t stale_order;
    uint64_t step, generation;
    uint32_t lineage, world_size;
    uint32_t workers; /* messages of the round that this one ends */
    int64_t uptime_ms, trained_ms;
    uint64_t disk_free_bytes, disk_total_bytes;
    char *snapshot; /* the newest complete one, "": none */
    uint64_t snapshot_step;
    int64_t snapshot_wall_ms;
    int has_learning;
    struct message_learning learning;
};

/* Owns its strings when it comes from feed_message_decode (feed_message_done); the one given to
 * feed_message_encode may borrow them. */
struct feed_message {
    enum feed_kind kind;
    uint64_t epoch, sequence; /* sequence counts from 1 in each epoch */
    int64_t wall_ms;          /* since 1970, UTC */
    union {
        struct feed_step step;
        struct feed_worker worker;
        struct feed_stream stream;
        struct feed_event event;
        struct feed_snapshot snapshot;
        struct feed_server server;
    };
};

/* The first frame of such a message: "step", "worker", ... */
const char *feed_topic(enum feed_kind kind);
/* Appends the second frame. */
enum status feed_message_encode(const struct feed_message *message, struct buf *out);
/* topic need not end in 0. ERR_PROTOCOL for what is not one of ours. */
enum status feed_message_decode(const void *topic, size_t topic_length, const void *bytes,
                                size_t length, struct feed_message *ret_message);
void feed_message_done(struct feed_message *message);

#endif
