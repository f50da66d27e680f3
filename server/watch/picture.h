/* picture.h - what a viewer knows of a run: its present state and as much of its past as fits.
 *
 * Fed by a follower (follower.h) and, where the run's folder is at hand, by the ends of
 * metrics.jsonl and events.jsonl (history.h). Fixed memory: curves keep PICTURE_POINTS points of
 * growing width, lists their newest. A value to be read by who draws it; only the functions write.
 * One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_PICTURE_H
#define SERVER_WATCH_PICTURE_H

#include <jansson.h>
#include <stdint.h>

#include "proto/feed_message.h"
#include "server/evaluation.h"

enum {
    PICTURE_POINTS = 1024,
    PICTURE_EVENTS = 256,
    PICTURE_MARKS = 256,
    PICTURE_SNAPSHOTS = 32,
    PICTURE_ROUNDS = 512,
    PICTURE_LEARNINGS = 512,
    PICTURE_EVALUATIONS = 128,
    PICTURE_LANES = 12, /* workers with a band of their own in the throughput of the past */
    PICTURE_WORKERS_MAX = MESSAGE_MEMBERS_MAX,
    PICTURE_NAME_BYTES = 64,
    PICTURE_TEXT_BYTES = 512,
};

struct picture_static {
    char name[PICTURE_NAME_BYTES], run[PICTURE_NAME_BYTES], version[PICTURE_NAME_BYTES];
    int64_t steps; /* 0: no end */
    int64_t prototypes, batch_images;
};

/* Means over `count` decided steps from `step` on. */
struct picture_point {
    uint64_t step;
    uint32_t count, commits;
    double loss, lr, grad_norm, step_ms, data_wait_ms, images, world_size;
    double phase_ms[PHASE_COUNT];
};

struct picture_event {
    uint64_t number, step; /* step: about where the run was */
    int64_t wall_ms;
    int is_warning;
    char name[PICTURE_NAME_BYTES], text[PICTURE_TEXT_BYTES];
};

/* An event that is drawn in the curves. */
enum picture_mark_kind {
    MARK_JOIN,
    MARK_LEAVE,
    MARK_DEATH,
    MARK_CUT,      /* of the learning rate */
    MARK_SNAPSHOT, /* complete */
    MARK_REFRESH,  /* a new shard */
    MARK_ROLLBACK,
    MARK_EVALUATION,
    MARK_KIND_COUNT
};

struct picture_mark {
    enum picture_mark_kind kind;
    uint64_t step;
    int64_t wall_ms;
    char text[PICTURE_NAME_BYTES];
};

struct picture_worker {
    char name[PICTURE_NAME_BYTES], host[PICTURE_NAME_BYTES], device[PICTURE_NAME_BYTES];
    char state[PICTURE_NAME_BYTES], phase[PICTURE_NAME_BYTES], version[PICTURE_NAME_BYTES];
    uint64_t id, step, memory_bytes, images_trained;
    uint32_t pid;
    int64_t rank, heartbeat_age_ms;
    double images_per_second, step_ms, data_wait_percent;
    /* Of its GPU; -1: not told. */
    int64_t gpu_utilization_percent, gpu_memory_used_bytes, gpu_temperature_c, gpu_power_mw;
    uint64_t round; /* last heard in */
};

struct picture_snapshot {
    char name[PICTURE_NAME_BYTES], reason[PICTURE_NAME_BYTES];
    uint64_t step, bytes;
    int is_complete;
    int64_t wall_ms;
};

/* Images a second at a time, by lane; the last is all other workers. */
struct picture_round {
    int64_t wall_ms;
    float images_per_second[PICTURE_LANES + 1];
};

/* Figures of learning of one step. */
struct picture_learning {
    uint32_t lineage;
    struct message_learning figures;
};

/* Counts since this viewer began, for rates and alerts. */
struct picture_totals {
    uint64_t steps_committed, steps_skipped, images, not_finite;
    uint64_t workers_joined, workers_lost, workers_left, rollbacks, rate_cuts, loss_stuck;
    uint64_t snapshots_complete, snapshots_failed, evaluations, warnings;
    double step_seconds, phase_seconds[PHASE_COUNT];
};

struct picture {
    int has_status;
    struct picture_static fixed;
    struct feed_server server; /* its texts are NULL; they are here: */
    char state[PICTURE_NAME_BYTES], snapshot[PICTURE_NAME_BYTES];
    struct feed_stream stream;
    uint64_t epoch, sequence;
    int64_t wall_ms;      /* the server's, of what was heard last */
    int64_t step_wall_ms; /* when the last step was committed; 0: none seen */
    struct feed_step last;
    uint32_t lineage; /* of the newest point */
    int has_step;
    double loss_smooth; /* over about 50 steps */
    uint32_t smooth_count;
    uint32_t width; /* steps that a full point covers */
    uint32_t point_count, event_count, mark_count, snapshot_count, round_count, lane_count;
    uint32_t learning_count, evaluation_count;
    uint32_t worker_count, worker_capacity, round_heard, round_width, round_fill;
    uint64_t round, last_event, mark_total;
    struct picture_worker *workers; /* [worker_count], owned */
    struct picture_totals totals;
    char lanes[PICTURE_LANES][PICTURE_NAME_BYTES];
    struct picture_point points[PICTURE_POINTS]; /* oldest first, as all below */
    struct picture_event events[PICTURE_EVENTS];
    struct picture_mark marks[PICTURE_MARKS];
    struct picture_snapshot snapshots[PICTURE_SNAPSHOTS];
    struct picture_round rounds[PICTURE_ROUNDS];
    struct picture_learning learnings[PICTURE_LEARNINGS];
    struct evaluation evaluations[PICTURE_EVALUATIONS];
};

struct picture *picture_create(void);
void picture_destroy(struct picture *picture); /* NULL is fine */
/* A snapshot (`status`): workers and the like begin anew, curves and lists go on. */
void picture_status(struct picture *picture, const json_t *status);
/* A message of the feed, behind what the picture knows. */
void picture_message(struct picture *picture, const struct feed_message *message);
/* Of the past: steps and events that are known already are passed over. Returns whether it was new.
 */
int picture_step(struct picture *picture, const struct feed_step *step, int64_t wall_ms);
/* One more of the list of snapshots. */
void picture_snapshot(struct picture *picture, const struct feed_snapshot *heard, int64_t wall_ms);
int picture_event(struct picture *picture, const struct feed_event *event, int64_t wall_ms);
/* As picture_step. */
int picture_learning(struct picture *picture, uint32_t lineage,
                     const struct message_learning *figures);

/* One more result; a known one (name and step) is replaced. */
void picture_evaluation(struct picture *picture, const struct evaluation *row);

/* The newest; NULL: none yet. */
const struct picture_learning *picture_learning_last(const struct picture *picture);
/* Uniform loss, ln K: where a run begins, and what it falls back to if it collapses. 0: K unknown.
 */
double picture_uniform_loss(const struct picture *picture);
/* Images a second of all workers. */
double picture_images_per_second(const struct picture *picture);
/* Share of this start's time that went into committed steps, 0 to 1. */
double picture_goodput(const struct picture *picture);
const char *picture_mark_name(enum picture_mark_kind kind);

#endif
