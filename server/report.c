/* report.c - what others may see of the run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/notify.h"
#include "proto/protocol.h"

enum {
    STATUS_SCHEMA = 1,
    STREAM_SCHEMA = 1,
    EVENT_BYTES = 1024,
    STREAM_SHARDS_TOLD = 500, /* of 4096 bytes at most: an answer takes 3 MiB */
};

void report_begin(struct server *server)
{
    struct coordinator_view view;
    coordinator_view(server->coordinator, &view);
    feed_begin(server->feed, view.epoch);
    vitals_init(&server->vitals, clock_ms());
}

static void tell_event(struct server *server, const char *kind, int is_warning, const char *text)
{
    log_line(is_warning ? LOG_LEVEL_WARN : LOG_LEVEL_INFO, "event=%s %s", kind, text);
    uint64_t number = run_folder_event(server->folder, kind, is_warning, text);
    char name[JOURNAL_NAME_BYTES], words[EVENT_BYTES];
    snprintf(name, sizeof(name), "%s", kind);
    snprintf(words, sizeof(words), "%s", text);
    struct feed_message message = {.kind = FEED_EVENT, .event = {name, words, is_warning, number}};
    feed_send(server->feed, &message);
}

/* Orders are told always: the log is the record of who wanted what. */
void report_event(struct server *server, const char *kind, int is_warning, const char *text)
{
    uint32_t dropped = 0;
    if (strcmp(kind, "operator_command") == 0) {
        tell_event(server, kind, is_warning, text != NULL ? text : "");
        return;
    }
    const enum rate_limit_answer answer =
        rate_limit_ask(&server->event_limit, kind, clock_ms(), &dropped);
    if (answer != RATE_LIMIT_DROP)
        tell_event(server, kind, is_warning, text != NULL ? text : "");
    if (dropped == 0 && answer != RATE_LIMIT_LAST)
        return;
    char words[EVENT_BYTES];
    snprintf(words, sizeof(words), "of=%.64s dropped=%u more=%d", kind, dropped,
             answer == RATE_LIMIT_LAST);
    tell_event(server, "events_suppressed", 1, words);
}

void report_step(struct server *server, const struct journal_step *step)
{
    run_folder_step(server->folder, step);
    vitals_step(&server->vitals, step);
    log_debug("event=step step=%" PRIu64 " generation=%" PRIu64 " loss=%g lr=%g", step->step,
              step->generation, step->loss, step->lr);
    struct feed_message message = {
        .kind = FEED_STEP,
        .step =
            {
                .step = step->step,
                .generation = step->generation,
                .lineage = step->lineage,
                .world_size = step->world_size,
                .images = step->images,
                .is_commit = step->is_commit,
                .loss = step->loss,
                .lr = step->lr,
                .grad_norm = step->grad_norm,
                .step_ms = (double)step->step_ms,
                .data_wait_ms = (double)step->data_wait_ms,
                .digest = step->digest,
            },
    };
    memcpy(message.step.phase_us, step->phase_us, sizeof(message.step.phase_us));
    feed_send(server->feed, &message);
}

void report_snapshot(struct server *server, const char *name, uint64_t step, uint64_t bytes,
                     int is_complete, const char *reason)
{
    char name_text[JOURNAL_NAME_BYTES], reason_text[EVENT_BYTES];
    snprintf(name_text, sizeof(name_text), "%s", name);
    snprintf(reason_text, sizeof(reason_text), "%s", reason);
    struct feed_message message = {
        .kind = FEED_SNAPSHOT,
        .snapshot = {name_text, step, bytes, is_complete, reason_text},
    };
    feed_send(server->feed, &message);
}

/* A worker that is between two heartbeats of different steps shows the older one. */
static uint64_t step_of(const struct worker *worker)
{
    return worker->heartbeat_step > worker->step ? worker->heartbeat_step : worker->step;
}

/* As a heartbeat has it; all unknown if it has none. */
static struct message_gpu gpu_of(const struct worker *worker)
{
    static const struct message_gpu unknown = {-1, -1, -1, -1, -1, -1, -1};
    return worker->heartbeat.has_gpu ? worker->heartbeat.gpu : unknown;
}

static void report_worker(struct server *server, const struct worker *worker, int64_t now_ms)
{
    const struct message_gpu gpu = gpu_of(worker);
    struct feed_message message = {
        .kind = FEED_WORKER,
        .worker =
            {
                .name = (char *)(uintptr_t)worker->name,
                .worker = worker->id,
                .pid = worker->pid,
                .host = (char *)(uintptr_t)worker->host,
                .device = (char *)(uintptr_t)worker->device,
                .state = (char *)(uintptr_t)worker_state_name(worker->state),
                .rank = worker->rank,
                .step = step_of(worker),
                .phase = (char *)(uintptr_t)phase_name(worker->heartbeat.phase),
                .images_per_second = worker->heartbeat.images_per_second,
                .memory_bytes = worker->heartbeat.memory_bytes,
                .heartbeat_age_ms = now_ms - worker->heard_ms,
                .gpu_utilization_percent = gpu.utilization_percent,
                .gpu_memory_used_bytes = gpu.memory_used_bytes,
                .gpu_temperature_c = gpu.temperature_c,
                .gpu_power_mw = gpu.power_mw,
                .gpu_ecc_errors = gpu.ecc_errors,
                .gpu_xid = gpu.xid,
                .images_trained = worker->images_trained,
                .version = (char *)(uintptr_t)worker->version,
                .protocol = worker->protocol,
            },
    };
    memcpy(message.worker.phase_us, worker->phase_us, sizeof(message.worker.phase_us));
    feed_send(server->feed, &message);
}

/* Images that are known and not trained on yet. */
static uint64_t backlog_of(const struct coordinator_view *view)
{
    return view->stream_end > view->position ? view->stream_end - view->position : 0;
}

static void report_server(struct server *server, const struct coordinator_view *view,
                          int64_t now_ms)
{
    const struct vitals *vitals = &server->vitals;
    struct feed_message message = {
        .kind = FEED_SERVER,
        .server =
            {
                .state = (char *)(uintptr_t)run_state_name(view->state),
                .stale_run = view->stale[STALE_RUN],
                .stale_epoch = view->stale[STALE_EPOCH],
                .stale_incarnation = view->stale[STALE_INCARNATION],
                .stale_lineage = view->stale[STALE_LINEAGE],
                .stale_generation = view->stale[STALE_GENERATION],
                .stale_step = view->stale[STALE_STEP],
                .stale_order = view->stale[STALE_ORDER],
                .step = view->step,
                .generation = view->generation,
                .lineage = view->lineage,
                .world_size = view->world_size,
                .workers = view->roster->count,
                .uptime_ms = now_ms - vitals->started_ms,
                .trained_ms = vitals->trained_ms,
                .disk_free_bytes = vitals->disk_free_bytes,
                .disk_total_bytes = vitals->disk_total_bytes,
                .snapshot = (char *)(uintptr_t)view->snapshot,
                .snapshot_step = view->snapshot_step,
                .snapshot_wall_ms = vitals->snapshot_wall_ms,
                .has_learning = server->learning.has_figures,
                .learning = server->learning.figures,
            },
    };
    feed_send(server->feed, &message);
}

static void report_evaluation(void *context, const struct evaluation *row)
{
    char text[EVALUATION_TEXT_BYTES];
    evaluation_print(row, text);
    report_event(context, "evaluation", 0, text);
}

void report_present(struct server *server)
{
    struct coordinator_view view;
    int64_t now_ms = clock_ms();
    coordinator_view(server->coordinator, &view);
    vitals_look(&server->vitals, server->directory, view.snapshot);
    evaluation_watch_look(&server->evaluations, server->directory, report_evaluation, server);
    if (learning_report_look(&server->learning, &view))
        run_folder_learning(server->folder, view.lineage, &server->learning.figures);
    for (uint32_t i = 0; i < view.roster->count; i++)
        report_worker(server, &view.roster->workers[i], now_ms);
    struct feed_message message = {
        .kind = FEED_STREAM,
        .stream = {view.position, view.shards_live, backlog_of(&view),
                   server->shard_watch.newest_ms},
    };
    feed_send(server->feed, &message);
    report_server(server, &view, now_ms);
    notify_status("%s, step %" PRIu64 ", loss %.4g, %u workers, %u of them in generation %" PRIu64,
                  run_state_name(view.state), view.step, view.loss, view.roster->count,
                  view.world_size, view.generation);
    notify_alive();
}

static json_t *json_count(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* What is not told is not there. */
static json_t *gpu_status(const struct message_gpu *gpu)
{
    const struct {
        const char *key;
        int64_t value;
    } figures[] = {
        {"utilization_percent", gpu->utilization_percent},
        {"memory_used_bytes", gpu->memory_used_bytes},
        {"memory_total_bytes", gpu->memory_total_bytes},
        {"temperature_c", gpu->temperature_c},
        {"power_mw", gpu->power_mw},
        {"ecc_errors", gpu->ecc_errors},
        {"xid", gpu->xid},
    };
    json_t *object = json_object();
    for (size_t i = 0; i < sizeof(figures) / sizeof(*figures); i++)
        if (figures[i].value >= 0)
            json_object_set_new(object, figures[i].key, json_integer(figures[i].value));
    return object;
}

static json_t *worker_status(const struct worker *worker, int64_t now_ms)
{
    json_t *object = json_object();
    char id[17];
    snprintf(id, sizeof(id), "%016" PRIx64, worker->id);
    json_object_set_new(object, "worker", json_string(id));
    json_object_set_new(object, "name", json_text(worker->name));
    json_object_set_new(object, "pid", json_integer(worker->pid));
    json_object_set_new(object, "host", json_text(worker->host));
    json_object_set_new(object, "version", json_text(worker->version));
    json_object_set_new(object, "protocol", json_integer(worker->protocol));
    json_object_set_new(object, "device", json_text(worker->device));
    json_object_set_new(object, "rank", json_integer(worker->rank));
    json_object_set_new(object, "state", json_string(worker_state_name(worker->state)));
    json_object_set_new(object, "phase", json_string(phase_name(worker->heartbeat.phase)));
    json_object_set_new(object, "step", json_count(step_of(worker)));
    json_object_set_new(object, "images_per_second",
                        json_number(worker->heartbeat.images_per_second));
    json_object_set_new(object, "images_trained", json_count(worker->images_trained));
    json_object_set_new(object, "memory_bytes", json_count(worker->heartbeat.memory_bytes));
    json_object_set_new(object, "heartbeat_age_ms", json_integer(now_ms - worker->heard_ms));
    if (worker->heartbeat.has_gpu)
        json_object_set_new(object, "gpu", gpu_status(&worker->heartbeat.gpu));
    json_object_set_new(object, "data_wait_ms",
                        json_number((double)worker->phase_us[PHASE_DATA] / 1000));
    return object;
}

static json_t *stale_status(const struct coordinator_view *view)
{
    json_t *stale = json_object();
    for (int kind = 0; kind < STALE_KIND_COUNT; kind++)
        json_object_set_new(stale, stale_kind_name((enum stale_kind)kind),
                            json_count(view->stale[kind]));
    return stale;
}

static json_t *stream_status(const struct server *server, const struct coordinator_view *view)
{
    json_t *stream = json_object();
    json_object_set_new(stream, "position", json_count(view->position));
    json_object_set_new(stream, "shards", json_integer(view->shards_live));
    json_object_set_new(stream, "backlog_images", json_count(backlog_of(view)));
    json_object_set_new(stream, "quarantined", json_count(view->records_quarantined));
    json_object_set_new(stream, "newest_wall_ms", json_integer(server->shard_watch.newest_ms));
    return stream;
}

/* What a listener needs to follow from here on: every later message has a higher number. */
static json_t *feed_status(const struct server *server, const struct coordinator_view *view)
{
    json_t *feed = json_object();
    json_object_set_new(feed, "address", json_text(feed_address(server->feed)));
    json_object_set_new(feed, "epoch", json_count(view->epoch));
    json_object_set_new(feed, "sequence", json_count(feed_sequence(server->feed)));
    return feed;
}

json_t *report_status(const struct server *server)
{
    struct coordinator_view view;
    int64_t now_ms = clock_ms();
    char run[17];
    coordinator_view(server->coordinator, &view);
    snprintf(run, sizeof(run), "%016" PRIx64, view.run);
    json_t *status = json_object(), *workers = json_array();
    json_object_set_new(status, "schema_version", json_integer(STATUS_SCHEMA));
    json_object_set_new(status, "name", json_text(server->config->run.name));
    json_object_set_new(status, "run", json_string(run));
    json_object_set_new(status, "state", json_string(run_state_name(view.state)));
    json_object_set_new(status, "step", json_count(view.step));
    json_object_set_new(status, "steps", json_integer(server->config->train.steps));
    json_object_set_new(status, "generation", json_count(view.generation));
    json_object_set_new(status, "lineage", json_integer(view.lineage));
    json_object_set_new(status, "epoch", json_count(view.epoch));
    json_object_set_new(status, "world_size", json_integer(view.world_size));
    json_object_set_new(status, "loss", json_number(view.loss));
    json_object_set_new(status, "lr", json_number(view.lr));
    json_object_set_new(status, "snapshot", json_text(view.snapshot));
    for (uint32_t i = 0; i < view.roster->count; i++)
        json_array_append_new(workers, worker_status(&view.roster->workers[i], now_ms));
    json_object_set_new(status, "workers", workers);
    json_object_set_new(status, "stream", stream_status(server, &view));
    json_object_set_new(status, "stale_messages", stale_status(&view));
    json_object_set_new(status, "version", json_string(protocol_program()));
    json_object_set_new(status, "prototypes",
                        json_integer(llround(exp(config_uniform_loss(server->config)))));
    json_object_set_new(status, "batch_images", json_integer(server->config->train.batch_images));
    if (server->learning.has_figures)
        json_object_set_new(status, "learning", learning_report_json(&server->learning.figures));
    json_object_set_new(status, "feed", feed_status(server, &view));
    return status;
}

/* A broken shard is read no more. A retired one is "retired" while some of its records may still be
 * read, then "unused". */
static const char *shard_state(const struct coordinator_shard *shard)
{
    if (shard->is_broken)
        return "broken";
    return !shard->is_retired ? "live" : shard->is_used ? "retired" : "unused";
}

static json_t *shard_status(uint32_t id, const struct coordinator_shard *shard)
{
    json_t *object = json_pack("{s:I, s:I, s:s, s:o, s:b}", "shard", (json_int_t)id, "records",
                               (json_int_t)shard->records, "state", shard_state(shard), "path",
                               json_text(shard->path), "living", shard->fact.is_living);
    json_object_set_new(object, "quarantined", json_integer(shard->quarantined.records));
    if (shard->quarantined.records > 0)
        json_object_set_new(object, "quarantine_reason", json_text(shard->quarantined.reason));
    if (shard->fact.created_ms > 0) {
        json_object_set_new(object, "created_ms", json_integer(shard->fact.created_ms));
        json_object_set_new(object, "bytes", json_count(shard->fact.bytes));
    }
    return object;
}

json_t *report_stream(const struct server *server, uint32_t from)
{
    json_t *shards = json_array();
    struct coordinator_shard shard;
    uint32_t id = from;
    int has_more = coordinator_shard(server->coordinator, id, &shard);
    for (; has_more && id - from < STREAM_SHARDS_TOLD;
         has_more = coordinator_shard(server->coordinator, ++id, &shard))
        json_array_append_new(shards, shard_status(id, &shard));
    json_t *body = json_pack("{s:i, s:o}", "schema_version", STREAM_SCHEMA, "shards", shards);
    json_object_set_new(body, "next", has_more ? json_integer(id) : json_null());
    return body;
}
