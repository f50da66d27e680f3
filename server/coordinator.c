/* coordinator.c - takes events apart, hands them on, and keeps the run moving. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/coordinator.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "server/admission.h"
#include "server/blame.h"
#include "server/boundary.h"
#include "server/core.h"
#include "server/formation.h"
#include "server/orders.h"
#include "server/recovery.h"
#include "server/rendezvous.h"
#include "server/round.h"
#include "server/shard_records.h"
#include "server/snapshot_records.h"
#include "server/succession.h"

struct coordinator *coordinator_create(const struct coordinator_setup *setup)
{
    const struct config *config = setup->config;
    struct coordinator *c = mem_zero(sizeof(*c));
    c->config = config;
    c->config_text = mem_string(setup->config_text);
    c->run = setup->run;
    c->entropy = setup->entropy;
    c->boot = setup->boot;
    c->fingerprint = config_fingerprint(config);
    c->config_since = config_since(config);
    c->batch_images = (uint64_t)config->train.batch_images;
    c->lonely_ms = -1;
    schedule_init(&c->schedule);
    buf_init(&c->last_record, MESSAGE_RECORD_BYTES);
    c->stream = stream_create(&(struct stream_setup){
        .seed = (uint64_t)config->run.seed,
        .block_records = (uint64_t)config->data.block_records,
        .window_blocks = (uint64_t)config->data.window_blocks,
    });
    struct stream_policy policy = stream_policy_of(config);
    expiry_take(c, &policy);
    roster_init(&c->roster);
    return c;
}

void coordinator_destroy(struct coordinator *c)
{
    if (c == NULL)
        return;
    round_clear(c);
    shard_records_done(c);
    stream_destroy(c->stream);
    mem_free(c->facts);
    quarantine_done(&c->quarantine);
    roster_done(&c->roster);
    mem_free(c->members);
    mem_free(c->deal.starts);
    mem_free(c->deal.starts_before);
    mem_free(c->next.starts);
    mem_free(c->snapshot.workers);
    buf_done(&c->last_record);
    mem_free(c->config_text);
    mem_free(c);
}

enum status coordinator_restore(struct coordinator *c, const struct journal_record *record)
{
    return recovery_restore(c, record);
}

void coordinator_begin_with_initial(struct coordinator *c)
{
    CHECK(c->generations == 0);
    c->is_initial_given = 1;
}

/* Allowed, and seldom meant. */
static void tell_changed_config(struct coordinator *c)
{
    if (c->fingerprint_before != 0 && c->fingerprint_before != c->fingerprint)
        actions_event(
            c->out, "config_changed", 1,
            "step=%llu was=%016llx is=%016llx hint=\"it computes by other numbers from here on; "
            "everseer.config in a snapshot of before says by which it did\"",
            (unsigned long long)c->step, (unsigned long long)c->fingerprint_before,
            (unsigned long long)c->fingerprint);
}

void coordinator_start(struct coordinator *c, int64_t now_ms, struct actions *out)
{
    const struct config *config = c->config;
    c->out = out;
    c->now_ms = now_ms;
    c->epoch++;
    struct journal_record record = {
        .kind = JOURNAL_START,
        .start =
            {
                .run = c->run,
                .epoch = c->epoch,
                .seed = (uint64_t)config->run.seed,
                .fingerprint = c->fingerprint,
                .batch_images = (uint32_t)config->train.batch_images,
                .slot_images = (uint32_t)config->train.slot_images,
                .block_records = (uint32_t)config->data.block_records,
                .window_blocks = (uint32_t)config->data.window_blocks,
                .boot = c->boot,
            },
    };
    core_journal(c, &record);
    if (c->is_initial_given && !c->has_initial)
        snapshot_records_begin(c);
    /* The process before may have planned this far for members that go on with it. */
    c->horizon = c->step + CORE_PLAN_AHEAD_MAX;
    c->state = c->member_count > 0 ? RUN_RECOVERING : RUN_WAITING;
    c->state_ms = c->start_ms = now_ms;
    c->is_stop_restored = c->is_stop_ordered;
    recovery_watch(c);
    shard_records_start(c);
    actions_event(out, "server_started", 0, "run=%016llx epoch=%llu step=%llu lineage=%u",
                  (unsigned long long)c->run, (unsigned long long)c->epoch,
                  (unsigned long long)c->step, c->lineage);
    tell_changed_config(c);
}

static void handle_broken(struct coordinator *c, struct worker *worker,
                          const struct message *message)
{
    const char *reason = message->broken.reason != NULL ? message->broken.reason : "";
    if (worker->rank < 0 || message->header.generation == c->generation) /* it has stopped */
        core_note_slices(worker, message->broken.slice_rank, message->broken.slice_count);
    if (c->next.state != NEXT_NONE && message->header.generation == c->next.generation) {
        succession_broken(c, worker, reason);
        return;
    }
    if (worker->rank < 0 || message->header.generation != c->generation) {
        c->stale[STALE_GENERATION]++;
        return;
    }
    if (c->state == RUN_CLOSING)
        return;
    if (c->state == RUN_RECOVERING) {
        recovery_note_hello(c, worker, 0);
        return;
    }
    worker->is_broken = 1;
    actions_event(c->out, "collective_broken", 1, "worker=%s generation=%llu reason=\"%s\"",
                  worker->name, (unsigned long long)c->generation, reason);
    if (!formation_is_late(c))
        formation_fail(c, "a collective broke");
}

static void handle_heartbeat(struct coordinator *c, struct worker *worker,
                             const struct message *message, int is_newest)
{
    const struct message_header *header = &message->header;
    if (!is_newest) {
        c->stale[STALE_ORDER]++;
        return;
    }
    if (worker->heartbeat.progress != message->heartbeat.progress ||
        worker->heartbeat_step != header->step ||
        worker->heartbeat_generation != header->generation)
        worker->moved_ms = c->now_ms;
    if (worker->rank < 0) /* a verdict that it awaited may have made it whole */
        core_note_slices(worker, message->heartbeat.slice_rank, message->heartbeat.slice_count);
    worker->heartbeat = message->heartbeat;
    worker->heartbeat_step = header->step;
    worker->heartbeat_generation = header->generation;
}

/* Nobody that a Hello has made known on this connection; `worker` is known on another one. */
static void handle_stranger(struct coordinator *c, uint64_t connection, struct worker *worker,
                            const struct message *message)
{
    const struct message_header *header = &message->header;
    if (header->run != c->run)
        c->stale[STALE_RUN]++;
    else
        c->stale[header->epoch != c->epoch ? STALE_EPOCH : STALE_INCARNATION]++;
    if (worker != NULL)
        roster_hear(worker, c->now_ms); /* it lives, and will say Hello on this connection */
    if (message->kind != MESSAGE_BYE)
        admission_ask_hello(c, connection, header->worker);
}

static void handle_message(struct coordinator *c, uint64_t connection,
                           const struct message *message)
{
    if (message->kind == MESSAGE_HELLO) {
        admission_hello(c, connection, message);
        return;
    }
    struct worker *worker = roster_find(&c->roster, message->header.worker);
    if (worker == NULL || worker->connection != connection) {
        handle_stranger(c, connection, worker, message);
        return;
    }
    if (c->now_ms - worker->heard_ms > CORE_SILENT_MS)
        worker->moved_ms = c->now_ms; /* stopped as a whole and going again: time to show it */
    roster_hear(worker, c->now_ms);
    int is_newest = admission_note_state(worker, message);
    if (message->kind != MESSAGE_HEARTBEAT)
        worker->moved_ms = c->now_ms;
    if (message->kind == MESSAGE_HEARTBEAT)
        handle_heartbeat(c, worker, message, is_newest);
    else if (message->kind == MESSAGE_FORMED)
        formation_formed(c, worker, message);
    else if (message->kind == MESSAGE_PREPARED)
        succession_prepared(c, worker, message);
    else if (message->kind == MESSAGE_RENDEZVOUS)
        rendezvous_note(c, worker, message);
    else if (message->kind == MESSAGE_READY)
        round_ready(c, worker, message);
    else if (message->kind == MESSAGE_BROKEN)
        handle_broken(c, worker, message);
    else if (message->kind == MESSAGE_SHARD_UNREADABLE)
        shard_records_unreadable(c, worker, &message->shard_unreadable);
    else if (message->kind == MESSAGE_LEAVE)
        admission_drain(c, worker);
    else if (message->kind == MESSAGE_BYE)
        admission_lose(c, worker, "it said bye");
}

static void handle_connection_lost(struct coordinator *c, uint64_t connection)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (c->roster.workers[i].connection == connection)
            c->roster.workers[i].connection = 0;
}

static void note_fact(struct coordinator *c, const char *path, const struct expiry_fact *fact)
{
    uint32_t id = 0;
    if (shard_records_find(c, path, &id)) /* not if it was refused */
        expiry_note(c, id, fact);
}

static void handle_helpers_failed(struct coordinator *c, uint64_t generation, const char *reason)
{
    reason = reason != NULL ? reason : "the collective's helpers ended";
    if (c->next.state != NEXT_NONE && generation == c->next.generation)
        succession_helpers_failed(c, reason);
    else if (generation == c->generation && c->state == RUN_RECOVERING)
        recovery_note_helpers_end(c);
    else if (generation == c->generation && c->world_size > 0 && c->state != RUN_CLOSING &&
             !formation_is_late(c))
        formation_fail(c, reason);
}

static void dispatch(struct coordinator *c, const struct coordinator_event *event)
{
    struct worker *worker;
    switch (event->kind) {
    case COORDINATOR_MESSAGE:
        handle_message(c, event->connection, event->message);
        break;
    case COORDINATOR_CONNECTION_LOST:
        handle_connection_lost(c, event->connection);
        break;
    case COORDINATOR_PROCESS_DIED:
        worker = roster_find(&c->roster, event->worker);
        if (worker != NULL)
            admission_lose(c, worker, event->reason != NULL ? event->reason : "process died");
        else if (c->state == RUN_RECOVERING)
            recovery_note_death(c, event->worker);
        break;
    case COORDINATOR_HELPERS_FAILED:
        handle_helpers_failed(c, event->generation, event->reason);
        break;
    case COORDINATOR_TICK:
        break;
    case COORDINATOR_COMMAND:
        orders_handle(c, event);
        break;
    case COORDINATOR_SHARD_FOUND:
        shard_records_found(c, event->shard.path, event->shard.records, event->shard.content_hash);
        note_fact(c, event->shard.path, &event->shard.fact);
        break;
    case COORDINATOR_TIME:
        expiry_check(c, event->wall_ms);
        break;
    case COORDINATOR_SNAPSHOT_DONE:
        boundary_snapshot_done(c, event->snapshot.name);
        break;
    case COORDINATOR_SNAPSHOT_FAILED:
        boundary_snapshot_failed(c, event->snapshot.name,
                                 event->reason != NULL ? event->reason : "");
        break;
    case COORDINATOR_SNAPSHOT_GONE:
        snapshot_records_gone(c, event->snapshot.name, event->reason != NULL ? event->reason : "");
        break;
    case COORDINATOR_SNAPSHOT_SURPLUS:
        snapshot_records_release(c, event->snapshot.name);
        break;
    }
}

/* Whoever was silent for too long is lost; unless it is we who slept, then all get that time. */
static void check_silence(struct coordinator *c)
{
    struct worker *worker;
    while ((worker = roster_find_silent(&c->roster, c->now_ms, c->config->server.lost_ms)) != NULL)
        admission_lose(c, worker, "not heard of for lost_ms");
}

/* A stop that was ordered before this server started waits for those who trained then: they hold
 * what is to be saved, and would otherwise wait for a server for ever. */
static int may_come_back(const struct coordinator *c)
{
    return c->now_ms - c->start_ms < 2 * c->config->server.lost_ms && c->is_stop_restored;
}

/* What time alone brings about. Whoever waits too long is looked for with the ticks: a look goes
 * over all workers, and each of a thousand says something ten times a second. */
static void advance(struct coordinator *c, int is_tick)
{
    if (is_tick) {
        check_silence(c);
        shard_records_check(c);
        boundary_check_snapshot(c);
    }
    if (c->state == RUN_RECOVERING)
        recovery_try(c);
    if (c->state == RUN_WAITING || c->state == RUN_BROKEN) {
        boundary_dismiss_idle(c);
        if (c->is_stopping && c->roster.count == 0 && !may_come_back(c))
            boundary_finish(c);
        else
            formation_try(c);
    } else if (c->state == RUN_FORMING) {
        formation_check_deadline(c);
    } else if (c->state == RUN_PAUSED || c->state == RUN_STARVED) {
        boundary_pass(c);
        round_plan(c);
        round_try_decide(c);
    } else if (c->state == RUN_TRAINING) {
        round_plan(c);
        round_try_decide(c);
        if (is_tick)
            blame_check(c);
        succession_advance(c);
    }
}

static void forgive_gap(struct coordinator *c, int64_t gap_ms)
{
    roster_extend(&c->roster, gap_ms);
    c->start_ms += gap_ms;
    c->state_ms += gap_ms;
    c->step_ms += gap_ms;
    c->next.begin_ms += gap_ms;
    c->snapshot.begin_ms += gap_ms;
    for (uint32_t i = 0; i < c->complaint_count; i++)
        c->complaints[i].since_ms += gap_ms;
    if (c->lonely_ms >= 0)
        c->lonely_ms += gap_ms;
}

static void tell_own_standstill(struct coordinator *c, const char *culprit, int64_t still_ms)
{
    if (c->world_size > 0)
        actions_event(c->out, "standstill", 1,
                      "culprit=\"%s\" generation=%llu step=%llu still_ms=%lld", culprit,
                      (unsigned long long)c->generation, (unsigned long long)c->step,
                      (long long)still_ms);
}

/* Time has passed in which we did nothing, or heard nobody: then nobody's deadline goes on. When
 * all fall silent at once it is our end of the line rather than theirs; and whoever is gone for
 * good can wait, for without the others nothing would go on. */
static void forgive_absence(struct coordinator *c, int64_t passed_ms)
{
    if (passed_ms > CORE_GAP_MS) {
        forgive_gap(c, passed_ms);
        if (passed_ms > CORE_SILENT_MS)
            tell_own_standstill(c, "server", passed_ms);
        return;
    }
    if (!roster_is_silent(&c->roster, c->now_ms, CORE_SILENT_MS)) {
        if (c->deaf_ms > 0) /* one is heard, the others are still to be */
            roster_forgive_silence(&c->roster, c->now_ms, CORE_SILENT_MS);
        c->deaf_ms = 0;
        return;
    }
    if (c->is_stopping || c->deaf_ms > CORE_DEAF_TIMES * c->config->server.lost_ms)
        return;
    if (c->deaf_ms == 0)
        tell_own_standstill(c, "server or network", CORE_SILENT_MS);
    c->deaf_ms += passed_ms;
    forgive_gap(c, passed_ms);
}

/* The run is over; what is left is to hear that everybody knows. */
static void handle_finished(struct coordinator *c, const struct coordinator_event *event)
{
    const int is_bye = event->kind == COORDINATOR_MESSAGE && event->message->kind == MESSAGE_BYE;
    if (is_bye || event->kind == COORDINATOR_PROCESS_DIED) {
        struct worker *worker =
            roster_find(&c->roster, is_bye ? event->message->header.worker : event->worker);
        if (worker != NULL)
            admission_forget(c, worker);
    } else if (event->kind == COORDINATOR_MESSAGE || event->kind == COORDINATOR_COMMAND) {
        dispatch(c, event);
    }
    boundary_see_off(c);
}

void coordinator_handle(struct coordinator *c, const struct coordinator_event *event,
                        int64_t now_ms, struct actions *out)
{
    int64_t passed_ms = now_ms - c->now_ms;
    c->out = out;
    c->now_ms = now_ms;
    forgive_absence(c, passed_ms);
    if (c->state == RUN_FINISHED) {
        handle_finished(c, event);
        return;
    }
    dispatch(c, event);
    if (c->state != RUN_FINISHED)
        advance(c, event->kind == COORDINATOR_TICK);
}

void coordinator_view(const struct coordinator *c, struct coordinator_view *ret_view)
{
    const struct journal_snapshot *newest = snapshot_records_newest(c);
    uint32_t live = 0;
    for (uint32_t i = 0; i < stream_shard_count(c->stream); i++)
        live += !stream_is_retired(c->stream, i);
    *ret_view = (struct coordinator_view){
        .state = c->state,
        .run = c->run,
        .epoch = c->epoch,
        .step = c->step,
        .generation = c->generation,
        .lineage = c->lineage,
        .loss = c->has_last ? c->last.loss : 0.0,
        .lr = c->has_last ? c->last.lr : schedule_lr(c->config, &c->schedule, c->step),
        .position = c->step * c->batch_images,
        .stream_end = stream_end(c->stream),
        .shards_live = live,
        .shards_known = stream_shard_count(c->stream),
        .world_size = c->world_size,
        .roster = &c->roster,
        .schedule = &c->schedule,
        .snapshot = newest != NULL ? newest->name : "",
        .snapshot_step = newest != NULL ? newest->step : 0,
        .policy = &c->policy,
        .records_quarantined = c->quarantine.records,
        .stale = c->stale,
        .has_begun = c->generations > 0,
        .has_initial = c->has_initial,
    };
}

int coordinator_shard(const struct coordinator *c, uint32_t id, struct coordinator_shard *ret_shard)
{
    if (id >= stream_shard_count(c->stream))
        return 0;
    *ret_shard = (struct coordinator_shard){
        .path = c->shards[id].path,
        .records = stream_shard_records(c->stream, id),
        .is_retired = stream_is_retired(c->stream, id),
        .is_broken = c->shards[id].is_broken,
        .is_used = !c->shards[id].is_closed && shard_records_is_needed(c, id),
    };
    ret_shard->quarantined = quarantine_of(&c->quarantine, id);
    if (id < c->fact_count)
        ret_shard->fact = c->facts[id];
    ret_shard->is_surplus = ret_shard->fact.is_living && ret_shard->is_retired &&
                            !ret_shard->is_used && !ret_shard->is_broken;
    return 1;
}

const char *run_state_name(enum run_state state)
{
    static const char *const names[] = {
        [RUN_RECOVERING] = "recovering", [RUN_WAITING] = "waiting", [RUN_FORMING] = "forming",
        [RUN_TRAINING] = "training",     [RUN_STARVED] = "starved", [RUN_PAUSED] = "paused",
        [RUN_BROKEN] = "regrouping",     [RUN_CLOSING] = "closing", [RUN_FINISHED] = "finished",
    };
    return names[state];
}
