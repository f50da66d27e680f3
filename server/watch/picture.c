/* picture.c - what a viewer knows of a run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/picture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "server/watch/picture_parts.h"

enum { SMOOTH_STEPS = 50 };

struct picture *picture_create(void)
{
    struct picture *picture = mem_zero(sizeof(*picture));
    picture->width = 1;
    picture->round_width = 1;
    return picture;
}

void picture_destroy(struct picture *picture)
{
    if (picture == NULL)
        return;
    mem_free(picture->workers);
    mem_free(picture);
}

void *picture_push(void *items, size_t size, uint32_t *count, uint32_t capacity)
{
    char *bytes = items;
    if (*count == capacity) {
        memmove(bytes, bytes + size, (capacity - 1) * size);
        *count = capacity - 1;
    }
    void *item = bytes + (*count)++ * size;
    memset(item, 0, size);
    return item;
}

/* ---- steps ---- */

/* Means of both, weighted by how many steps each has; loss and norm that are no numbers have no
 * weight. */
static double mean(double a, double a_count, double b, double b_count)
{
    if (!isfinite(a))
        return b;
    return isfinite(b) ? (a * a_count + b * b_count) / (a_count + b_count) : a;
}

static void point_merge(struct picture_point *a, const struct picture_point *b)
{
    double n = a->count, m = b->count;
    a->loss = mean(a->loss, n, b->loss, m);
    a->grad_norm = mean(a->grad_norm, n, b->grad_norm, m);
    a->lr = b->lr;
    a->step_ms = mean(a->step_ms, n, b->step_ms, m);
    a->data_wait_ms = mean(a->data_wait_ms, n, b->data_wait_ms, m);
    a->images = mean(a->images, n, b->images, m);
    a->world_size = b->world_size;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        a->phase_ms[phase] = mean(a->phase_ms[phase], n, b->phase_ms[phase], m);
    a->count += b->count;
    a->commits += b->commits;
}

static void add_point(struct picture *picture, const struct picture_point *point)
{
    struct picture_point *points = picture->points;
    uint32_t count = picture->point_count;
    if (count > 0 && points[count - 1].count < picture->width) {
        point_merge(&points[count - 1], point);
        return;
    }
    if (count == PICTURE_POINTS) {
        for (uint32_t i = 0; i < PICTURE_POINTS / 2; i++) {
            points[i] = points[2 * i];
            point_merge(&points[i], &points[2 * i + 1]);
        }
        count = PICTURE_POINTS / 2;
        picture->width *= 2;
    }
    points[count] = *point;
    picture->point_count = count + 1;
}

static void smooth(struct picture *picture, double loss)
{
    if (!isfinite(loss))
        return;
    /* A plain mean at first, or the first steps would be seen for long. */
    picture->smooth_count += picture->smooth_count < SMOOTH_STEPS;
    picture->loss_smooth += (loss - picture->loss_smooth) / picture->smooth_count;
}

/* A new lineage voids steps of the old one from where it begins. */
static void begin_lineage(struct picture *picture, const struct feed_step *step)
{
    while (picture->point_count > 0 && picture->points[picture->point_count - 1].step >= step->step)
        picture->point_count--;
    picture->lineage = step->lineage;
}

int picture_step(struct picture *picture, const struct feed_step *step, int64_t wall_ms)
{
    const struct feed_step *last = &picture->last;
    if (picture->has_step && (step->lineage < last->lineage ||
                              (step->lineage == last->lineage && step->step <= last->step)))
        return 0;
    if (step->lineage != picture->lineage)
        begin_lineage(picture, step);
    picture->last = *step;
    picture->has_step = 1;
    if (wall_ms > picture->step_wall_ms && step->is_commit)
        picture->step_wall_ms = wall_ms;
    struct picture_point point = {
        .step = step->step,
        .count = 1,
        .commits = step->is_commit != 0,
        .loss = step->loss,
        .lr = step->lr,
        .grad_norm = step->grad_norm,
        .step_ms = step->step_ms,
        .data_wait_ms = step->data_wait_ms,
        .images = step->images,
        .world_size = step->world_size,
    };
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        point.phase_ms[phase] = (double)step->phase_us[phase] / 1000;
    add_point(picture, &point);
    smooth(picture, step->loss);
    return 1;
}

static void count_step(struct picture_totals *totals, const struct feed_step *step)
{
    if (step->is_commit) {
        totals->steps_committed++;
        totals->images += step->images;
    } else {
        totals->steps_skipped++;
    }
    totals->not_finite += !isfinite(step->loss);
    totals->step_seconds += step->step_ms / 1000;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        totals->phase_seconds[phase] += (double)step->phase_us[phase] / 1e6;
}

/* ---- workers ---- */

static struct picture_worker *worker_at(struct picture *picture, uint64_t id)
{
    for (uint32_t i = 0; i < picture->worker_count; i++)
        if (picture->workers[i].id == id)
            return &picture->workers[i];
    if (picture->worker_count == PICTURE_WORKERS_MAX)
        return NULL;
    if (picture->worker_count == picture->worker_capacity) {
        picture->worker_capacity = picture->worker_capacity * 2 + 16;
        picture->workers =
            mem_resize(picture->workers, picture->worker_capacity * sizeof(*picture->workers));
    }
    struct picture_worker *worker = &picture->workers[picture->worker_count++];
    *worker = (struct picture_worker){.id = id};
    return worker;
}

static void take_worker(struct picture *picture, const struct feed_worker *heard)
{
    struct picture_worker *worker = worker_at(picture, heard->worker);
    int64_t sum_us = 0;
    if (worker == NULL)
        return;
    COPY(worker->name, heard->name);
    COPY(worker->host, heard->host);
    COPY(worker->device, heard->device);
    COPY(worker->state, heard->state);
    COPY(worker->phase, heard->phase);
    COPY(worker->version, heard->version);
    worker->pid = heard->pid;
    worker->rank = heard->rank;
    worker->step = heard->step;
    worker->memory_bytes = heard->memory_bytes;
    worker->images_trained = heard->images_trained;
    worker->heartbeat_age_ms = heard->heartbeat_age_ms;
    worker->images_per_second = heard->images_per_second;
    worker->gpu_utilization_percent = heard->gpu_utilization_percent;
    worker->gpu_memory_used_bytes = heard->gpu_memory_used_bytes;
    worker->gpu_temperature_c = heard->gpu_temperature_c;
    worker->gpu_power_mw = heard->gpu_power_mw;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        sum_us += heard->phase_us[phase];
    worker->step_ms = (double)sum_us / 1000;
    worker->data_wait_percent =
        sum_us > 0 ? 100.0 * (double)heard->phase_us[PHASE_DATA] / (double)sum_us : 0;
    worker->round = picture->round;
    picture->round_heard++;
}

/* A worker's band: its own while there is one, else the last. */
static uint32_t lane_of(struct picture *picture, const char *name)
{
    for (uint32_t i = 0; i < picture->lane_count; i++)
        if (strcmp(picture->lanes[i], name) == 0)
            return i;
    if (picture->lane_count == PICTURE_LANES)
        return PICTURE_LANES;
    COPY(picture->lanes[picture->lane_count], name);
    return picture->lane_count++;
}

/* Each point of throughput is the newest of `round_width` rounds, twice as many when all are full.
 */
static void add_round(struct picture *picture)
{
    struct picture_round round = {.wall_ms = picture->wall_ms};
    for (uint32_t i = 0; i < picture->worker_count; i++)
        if (picture->workers[i].rank >= 0)
            round.images_per_second[lane_of(picture, picture->workers[i].name)] +=
                (float)picture->workers[i].images_per_second;
    int is_new = picture->round_fill == 0 || picture->round_count == 0;
    picture->round_fill = (picture->round_fill + 1) % picture->round_width;
    if (!is_new) {
        picture->rounds[picture->round_count - 1] = round;
        return;
    }
    if (picture->round_count == PICTURE_ROUNDS) {
        for (uint32_t i = 0; i < PICTURE_ROUNDS / 2; i++)
            picture->rounds[i] = picture->rounds[2 * i + 1];
        picture->round_count = PICTURE_ROUNDS / 2;
        picture->round_width *= 2;
    }
    picture->rounds[picture->round_count++] = round;
}

/* Ends a round: who was not in it has left, unless we came in the middle of it. */
static void take_server(struct picture *picture, const struct feed_server *server)
{
    uint32_t kept = 0;
    int is_whole = picture->round_heard == server->workers;
    for (uint32_t i = 0; i < picture->worker_count; i++)
        if (!is_whole || picture->workers[i].round == picture->round)
            picture->workers[kept++] = picture->workers[i];
    picture->worker_count = kept;
    picture->round++;
    picture->round_heard = 0;
    picture->server = *server;
    COPY(picture->state, server->state);
    COPY(picture->snapshot, server->snapshot);
    picture->server.state = picture->server.snapshot = NULL;
    if (server->has_learning)
        picture_learning(picture, server->lineage, &server->learning);
    add_round(picture);
}

void picture_snapshot(struct picture *picture, const struct feed_snapshot *heard, int64_t wall_ms)
{
    struct picture_snapshot *snapshot = picture_push(picture->snapshots, sizeof(*snapshot),
                                                     &picture->snapshot_count, PICTURE_SNAPSHOTS);
    COPY(snapshot->name, heard->name);
    COPY(snapshot->reason, heard->reason);
    snapshot->step = heard->step;
    snapshot->bytes = heard->bytes;
    snapshot->is_complete = heard->is_complete;
    snapshot->wall_ms = wall_ms;
}

void picture_message(struct picture *picture, const struct feed_message *message)
{
    picture->epoch = message->epoch;
    picture->sequence = message->sequence;
    picture->wall_ms = message->wall_ms;
    switch (message->kind) {
    case FEED_STEP:
        if (picture_step(picture, &message->step, message->wall_ms))
            count_step(&picture->totals, &message->step);
        break;
    case FEED_WORKER:
        take_worker(picture, &message->worker);
        break;
    case FEED_STREAM:
        picture->stream = message->stream;
        break;
    case FEED_EVENT:
        if (picture_event(picture, &message->event, message->wall_ms))
            picture_count_event(&picture->totals, &message->event);
        break;
    case FEED_SNAPSHOT:
        picture_snapshot(picture, &message->snapshot, message->wall_ms);
        break;
    case FEED_SERVER:
        take_server(picture, &message->server);
        break;
    case FEED_KIND_COUNT:
        break;
    }
}

/* ---- the rest ---- */

static int64_t integer(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

static int64_t gpu_figure(const json_t *worker, const char *key)
{
    const json_t *value = json_object_get(json_object_get(worker, "gpu"), key);
    return json_is_integer(value) ? (int64_t)json_integer_value(value) : -1;
}

static void status_worker(struct picture *picture, const json_t *object)
{
    const char *id = json_string_value(json_object_get(object, "worker"));
    struct picture_worker *worker = worker_at(picture, id != NULL ? strtoull(id, NULL, 16) : 0);
    if (worker == NULL)
        return;
    COPY(worker->name, json_string_value(json_object_get(object, "name")));
    COPY(worker->host, json_string_value(json_object_get(object, "host")));
    COPY(worker->device, json_string_value(json_object_get(object, "device")));
    COPY(worker->state, json_string_value(json_object_get(object, "state")));
    COPY(worker->phase, json_string_value(json_object_get(object, "phase")));
    COPY(worker->version, json_string_value(json_object_get(object, "version")));
    worker->pid = (uint32_t)integer(object, "pid");
    worker->rank = integer(object, "rank");
    worker->step = (uint64_t)integer(object, "step");
    worker->memory_bytes = (uint64_t)integer(object, "memory_bytes");
    worker->images_trained = (uint64_t)integer(object, "images_trained");
    worker->heartbeat_age_ms = integer(object, "heartbeat_age_ms");
    worker->images_per_second = json_number_value(json_object_get(object, "images_per_second"));
    worker->gpu_utilization_percent = gpu_figure(object, "utilization_percent");
    worker->gpu_memory_used_bytes = gpu_figure(object, "memory_used_bytes");
    worker->gpu_temperature_c = gpu_figure(object, "temperature_c");
    worker->gpu_power_mw = gpu_figure(object, "power_mw");
}

void picture_status(struct picture *picture, const json_t *status)
{
    const json_t *stream = json_object_get(status, "stream");
    const json_t *feed = json_object_get(status, "feed");
    COPY(picture->fixed.name, json_string_value(json_object_get(status, "name")));
    COPY(picture->fixed.run, json_string_value(json_object_get(status, "run")));
    COPY(picture->fixed.version, json_string_value(json_object_get(status, "version")));
    COPY(picture->state, json_string_value(json_object_get(status, "state")));
    COPY(picture->snapshot, json_string_value(json_object_get(status, "snapshot")));
    picture->fixed.steps = integer(status, "steps");
    picture->fixed.prototypes = integer(status, "prototypes");
    picture->fixed.batch_images = integer(status, "batch_images");
    picture->epoch = (uint64_t)integer(feed, "epoch");
    picture->sequence = (uint64_t)integer(feed, "sequence");
    picture->server.step = (uint64_t)integer(status, "step");
    picture->server.generation = (uint64_t)integer(status, "generation");
    picture->server.lineage = (uint32_t)integer(status, "lineage");
    picture->server.world_size = (uint32_t)integer(status, "world_size");
    picture->stream.position = (uint64_t)integer(stream, "position");
    picture->stream.shards = (uint32_t)integer(stream, "shards");
    picture->stream.backlog_images = (uint64_t)integer(stream, "backlog_images");
    picture->stream.newest_wall_ms = integer(stream, "newest_wall_ms");
    size_t i;
    json_t *worker;
    picture->worker_count = 0;
    picture->round_heard = 0;
    json_array_foreach(json_object_get(status, "workers"), i, worker)
        status_worker(picture, worker);
    picture->has_status = 1;
}

double picture_uniform_loss(const struct picture *picture)
{
    return picture->fixed.prototypes > 0 ? log((double)picture->fixed.prototypes) : 0;
}

double picture_images_per_second(const struct picture *picture)
{
    double sum = 0;
    for (uint32_t i = 0; i < picture->worker_count; i++)
        if (picture->workers[i].rank >= 0)
            sum += picture->workers[i].images_per_second;
    return sum;
}

double picture_goodput(const struct picture *picture)
{
    const struct feed_server *server = &picture->server;
    return server->uptime_ms > 0 ? (double)server->trained_ms / (double)server->uptime_ms : 0;
}
