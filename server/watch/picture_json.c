/* picture_json.c - a picture as JSON. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/picture_json.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/json.h"
#include "server/learning_report.h"
#include "server/watch/advice.h"

enum { SCHEMA = 1 };

static void put_text(json_t *object, const char *key, const char *text)
{
    json_object_set_new(object, key, json_text(text));
}

static void put_count(json_t *object, const char *key, uint64_t value)
{
    json_object_set_new(object, key, json_integer((json_int_t)value));
}

static void put_number(json_t *object, const char *key, double value)
{
    json_object_set_new(object, key, json_number(value));
}

/* What is not told is null. */
static void put_figure(json_t *object, const char *key, int64_t value)
{
    json_object_set_new(object, key, value >= 0 ? json_integer((json_int_t)value) : json_null());
}

static json_t *worker_json(const struct picture_worker *worker)
{
    char id[17];
    json_t *object = json_object();
    snprintf(id, sizeof(id), "%016" PRIx64, worker->id);
    put_text(object, "worker", id);
    put_text(object, "name", worker->name);
    put_text(object, "host", worker->host);
    put_text(object, "device", worker->device);
    put_text(object, "state", worker->state);
    put_text(object, "phase", worker->phase);
    put_text(object, "version", worker->version);
    put_count(object, "pid", worker->pid);
    json_object_set_new(object, "rank", json_integer(worker->rank));
    put_count(object, "step", worker->step);
    put_number(object, "images_per_second", worker->images_per_second);
    put_count(object, "images_trained", worker->images_trained);
    put_number(object, "step_ms", worker->step_ms);
    put_number(object, "data_wait_percent", worker->data_wait_percent);
    put_count(object, "memory_bytes", worker->memory_bytes);
    json_object_set_new(object, "heartbeat_age_ms", json_integer(worker->heartbeat_age_ms));
    put_figure(object, "gpu_utilization_percent", worker->gpu_utilization_percent);
    put_figure(object, "gpu_memory_used_bytes", worker->gpu_memory_used_bytes);
    put_figure(object, "gpu_temperature_c", worker->gpu_temperature_c);
    put_figure(object, "gpu_power_mw", worker->gpu_power_mw);
    return object;
}

static json_t *stream_json(const struct picture *picture)
{
    json_t *object = json_object();
    put_count(object, "position", picture->stream.position);
    put_count(object, "shards", picture->stream.shards);
    put_count(object, "backlog_images", picture->stream.backlog_images);
    put_count(object, "newest_wall_ms", (uint64_t)picture->stream.newest_wall_ms);
    return object;
}

static void put_server(json_t *object, const struct picture *picture)
{
    const struct feed_server *server = &picture->server;
    put_text(object, "state", picture->state);
    put_count(object, "step", server->step);
    put_count(object, "generation", server->generation);
    put_count(object, "lineage", server->lineage);
    put_count(object, "world_size", server->world_size);
    put_count(object, "epoch", picture->epoch);
    put_count(object, "wall_ms", (uint64_t)picture->wall_ms);
    put_count(object, "step_wall_ms", (uint64_t)picture->step_wall_ms);
    put_count(object, "uptime_ms", (uint64_t)server->uptime_ms);
    put_number(object, "goodput", picture_goodput(picture));
    put_number(object, "images_per_second", picture_images_per_second(picture));
    put_number(object, "loss", picture->has_step ? picture->last.loss : 0);
    put_number(object, "loss_smooth", picture->loss_smooth);
    put_number(object, "lr", picture->last.lr);
    put_text(object, "snapshot", picture->snapshot);
    put_count(object, "snapshot_step", server->snapshot_step);
    put_count(object, "snapshot_wall_ms", (uint64_t)server->snapshot_wall_ms);
    put_count(object, "disk_free_bytes", server->disk_free_bytes);
    put_count(object, "disk_total_bytes", server->disk_total_bytes);
}

static json_t *round_json(const struct picture *picture, const struct picture_round *round)
{
    json_t *lanes = json_array();
    for (uint32_t i = 0; i <= picture->lane_count && i <= PICTURE_LANES; i++)
        json_array_append_new(lanes, json_number(i < picture->lane_count
                                                     ? round->images_per_second[i]
                                                     : round->images_per_second[PICTURE_LANES]));
    return json_pack("{s:I, s:o}", "wall_ms", (json_int_t)round->wall_ms, "images_per_second",
                     lanes);
}

static json_t *lanes_json(const struct picture *picture)
{
    json_t *names = json_array();
    for (uint32_t i = 0; i < picture->lane_count; i++)
        json_array_append_new(names, json_text(picture->lanes[i]));
    return names;
}

static json_t *advice_json(const struct picture *picture)
{
    struct advice advice[ADVICE_MAX];
    const int count = advice_of(picture, advice);
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name", advice[i].name, "is_bad",
                                              advice[i].is_bad, "text", advice[i].text));
    return list;
}

json_t *picture_json_present(const struct picture *picture, int is_live, const char *trouble)
{
    json_t *object = json_object(), *workers = json_array();
    put_server(object, picture);
    for (uint32_t i = 0; i < picture->worker_count; i++)
        json_array_append_new(workers, worker_json(&picture->workers[i]));
    json_object_set_new(object, "workers", workers);
    json_object_set_new(object, "stream", stream_json(picture));
    json_object_set_new(object, "lanes", lanes_json(picture));
    if (picture->round_count > 0)
        json_object_set_new(object, "round",
                            round_json(picture, &picture->rounds[picture->round_count - 1]));
    json_object_set_new(object, "is_live", json_boolean(is_live));
    put_text(object, "trouble", is_live ? "" : trouble);
    const struct picture_learning *last = picture_learning_last(picture);
    json_object_set_new(object, "learning",
                        last != NULL ? learning_report_json(&last->figures) : json_null());
    json_object_set_new(object, "advice", advice_json(picture));
    return object;
}

json_t *picture_json_step(const struct feed_step *step, int64_t wall_ms)
{
    json_t *object = json_object(), *phases = json_array();
    put_count(object, "step", step->step);
    put_count(object, "lineage", step->lineage);
    put_count(object, "wall_ms", (uint64_t)wall_ms);
    json_object_set_new(object, "is_commit", json_boolean(step->is_commit));
    put_number(object, "loss", step->loss);
    put_number(object, "lr", step->lr);
    put_number(object, "grad_norm", step->grad_norm);
    put_number(object, "step_ms", step->step_ms);
    put_number(object, "data_wait_ms", step->data_wait_ms);
    put_count(object, "images", step->images);
    put_count(object, "world_size", step->world_size);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        json_array_append_new(phases, json_number((double)step->phase_us[phase] / 1000));
    json_object_set_new(object, "phase_ms", phases);
    return object;
}

static json_t *point_json(const struct picture_point *point)
{
    json_t *object = json_object(), *phases = json_array();
    put_count(object, "step", point->step);
    put_count(object, "count", point->count);
    put_count(object, "commits", point->commits);
    put_number(object, "loss", point->loss);
    put_number(object, "lr", point->lr);
    put_number(object, "grad_norm", point->grad_norm);
    put_number(object, "step_ms", point->step_ms);
    put_number(object, "data_wait_ms", point->data_wait_ms);
    put_number(object, "images", point->images);
    put_number(object, "world_size", point->world_size);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        json_array_append_new(phases, json_number(point->phase_ms[phase]));
    json_object_set_new(object, "phase_ms", phases);
    return object;
}

json_t *picture_json_event(const struct picture_event *event)
{
    json_t *object = json_object();
    put_count(object, "number", event->number);
    put_count(object, "wall_ms", (uint64_t)event->wall_ms);
    put_count(object, "step", event->step);
    json_object_set_new(object, "is_warning", json_boolean(event->is_warning));
    put_text(object, "kind", event->name);
    put_text(object, "text", event->text);
    return object;
}

json_t *picture_json_mark(const struct picture_mark *mark)
{
    json_t *object = json_object();
    put_text(object, "kind", picture_mark_name(mark->kind));
    put_count(object, "step", mark->step);
    put_count(object, "wall_ms", (uint64_t)mark->wall_ms);
    put_text(object, "text", mark->text);
    return object;
}

json_t *picture_json_snapshot(const struct picture_snapshot *snapshot)
{
    json_t *object = json_object();
    put_text(object, "name", snapshot->name);
    put_count(object, "step", snapshot->step);
    put_count(object, "bytes", snapshot->bytes);
    json_object_set_new(object, "is_complete", json_boolean(snapshot->is_complete));
    put_text(object, "reason", snapshot->reason);
    put_count(object, "wall_ms", (uint64_t)snapshot->wall_ms);
    return object;
}

json_t *picture_json_evaluations(const struct picture *picture)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < picture->evaluation_count; i++) {
        const struct evaluation *row = &picture->evaluations[i];
        json_t *object = json_object();
        put_text(object, "name", row->name);
        put_count(object, "step", row->step);
        put_number(object, "top1", row->top1);
        put_number(object, "deviation", row->deviation);
        put_text(object, "layer", row->layer);
        put_count(object, "wall_ms", (uint64_t)row->wall_ms);
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *phases_json(void)
{
    json_t *names = json_array();
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        json_array_append_new(names, json_string(phase_name((enum worker_phase)phase)));
    return names;
}

json_t *picture_json(const struct picture *picture, int is_live, const char *trouble)
{
    json_t *object = picture_json_present(picture, is_live, trouble);
    json_t *points = json_array(), *events = json_array(), *marks = json_array();
    json_t *snapshots = json_array(), *rounds = json_array(), *learnings = json_array();
    put_count(object, "schema_version", SCHEMA);
    put_text(object, "name", picture->fixed.name);
    put_text(object, "run", picture->fixed.run);
    put_text(object, "version", picture->fixed.version);
    json_object_set_new(object, "steps", json_integer(picture->fixed.steps));
    json_object_set_new(object, "prototypes", json_integer(picture->fixed.prototypes));
    json_object_set_new(object, "batch_images", json_integer(picture->fixed.batch_images));
    put_number(object, "uniform_loss", picture_uniform_loss(picture));
    put_count(object, "sequence", picture->sequence);
    for (uint32_t i = 0; i < picture->point_count; i++)
        json_array_append_new(points, point_json(&picture->points[i]));
    for (uint32_t i = 0; i < picture->event_count; i++)
        json_array_append_new(events, picture_json_event(&picture->events[i]));
    for (uint32_t i = 0; i < picture->mark_count; i++)
        json_array_append_new(marks, picture_json_mark(&picture->marks[i]));
    for (uint32_t i = 0; i < picture->snapshot_count; i++)
        json_array_append_new(snapshots, picture_json_snapshot(&picture->snapshots[i]));
    for (uint32_t i = 0; i < picture->round_count; i++)
        json_array_append_new(rounds, round_json(picture, &picture->rounds[i]));
    for (uint32_t i = 0; i < picture->learning_count; i++)
        json_array_append_new(learnings, learning_report_json(&picture->learnings[i].figures));
    json_object_set_new(object, "phases", phases_json());
    json_object_set_new(object, "points", points);
    json_object_set_new(object, "events", events);
    json_object_set_new(object, "marks", marks);
    json_object_set_new(object, "snapshots", snapshots);
    json_object_set_new(object, "rounds", rounds);
    json_object_set_new(object, "learnings", learnings);
    json_object_set_new(object, "evaluations", picture_json_evaluations(picture));
    return object;
}
