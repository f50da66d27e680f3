/* boundary.c - snapshots, joining, leaving, stopping. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/boundary.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "server/admission.h"
#include "server/engine.h"
#include "server/formation.h"
#include "server/round.h"
#include "server/shard_records.h"
#include "server/snapshot_name.h"
#include "server/snapshot_records.h"
#include "server/succession.h"

/* A final snapshot that failed this often is given up. */
enum { CLOSING_ATTEMPTS = 3 };

static int has_present_snapshot(const struct coordinator *c)
{
    const struct journal_snapshot *newest = snapshot_records_newest(c);
    return newest != NULL && newest->step == c->step;
}

/* Of a member that has been lost since, the next one pushes the slice. */
static void choose_slices(struct coordinator *c, const struct worker *worker,
                          struct message_snapshot_begin *begin)
{
    if (!c->config->optimizer.sharded || formation_is_whole(c))
        return; /* who has all of it gives what is asked for */
    const uint32_t rank = (uint32_t)worker->rank, count = c->member_count;
    begin->slice = rank;
    begin->slice_count = count;
    begin->has_slice_before =
        roster_find_rank(&c->roster, (int)((rank + count - 1) % count)) == NULL;
}

enum status boundary_snapshot(struct coordinator *c, const char *name)
{
    struct core_snapshot *snapshot = &c->snapshot;
    if (snapshot->is_pending)
        return fail(ERR_STALE, "snapshot '%s' is still being taken: ask again later",
                    snapshot->name);
    if (c->world_size == 0)
        return fail(ERR_STALE, "no worker is training: there is nothing to save");
    *snapshot = (struct core_snapshot){
        .is_pending = 1,
        .step = c->step,
        .lineage = c->lineage,
        .shares = c->world_size,
        .begin_ms = c->now_ms,
        .workers = mem_resize(snapshot->workers, c->world_size * sizeof(*snapshot->workers)),
        .schedule = c->schedule,
    };
    if (name[0] != 0)
        snprintf(snapshot->name, sizeof(snapshot->name), "%s", name);
    else
        snapshot_name_make(c->step, c->lineage, snapshot->name);
    struct action *action = actions_push(c->out, ACTION_EXPECT_SNAPSHOT);
    memcpy(action->snapshot.name, snapshot->name, sizeof(snapshot->name));
    action->snapshot.step = c->step;
    action->snapshot.lineage = c->lineage;
    action->snapshot.shares = c->world_size;
    uint32_t share = 0;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        if (worker->rank < 0)
            continue;
        struct message message = {
            .kind = MESSAGE_SNAPSHOT_BEGIN,
            .header = {.generation = c->generation, .step = c->step},
            .snapshot_begin = {.name = snapshot->name,
                               .share = share,
                               .share_count = c->world_size},
        };
        choose_slices(c, worker, &message.snapshot_begin);
        core_send(c, worker, &message);
        snapshot->workers[share++] = worker->id;
    }
    return OK;
}

void boundary_see_off(struct coordinator *c)
{
    if (c->is_over || (c->roster.count > 0 && c->now_ms - c->state_ms < CORE_FAREWELL_MS))
        return;
    c->is_over = 1;
    actions_push(c->out, ACTION_FINISHED);
}

void boundary_finish(struct coordinator *c)
{
    shard_records_release(c); /* the next server says nothing of them */
    for (uint32_t i = c->roster.count; i-- > 0;)
        admission_say_goodbye(c, &c->roster.workers[i], "the run is finished");
    struct journal_record record = {
        .kind = JOURNAL_GENERATION,
        .generation = {.generation = c->generation, .step = c->step},
    };
    core_journal(c, &record);
    c->member_count = 0;
    if (c->is_stop_ordered) {
        struct journal_record stop = {.kind = JOURNAL_STOP};
        core_journal(c, &stop);
        c->is_stop_ordered = 0;
    }
    core_set_state(c, RUN_FINISHED);
    actions_event(c->out, "run_finished", 0, "step=%llu", (unsigned long long)c->step);
    boundary_see_off(c);
}

/* Were too many members lost while they were saving it? */
static int is_lost(struct coordinator *c)
{
    if (!c->config->optimizer.sharded || formation_is_whole(c) ||
        core_is_covered(c, core_is_member))
        return 0;
    actions_event(c->out, "state_lost", 1,
                  "step=%llu reason=\"neighbours were lost at once, and with them a slice of the "
                  "momentum\"",
                  (unsigned long long)c->step);
    return 1;
}

/* The state is safe, or cannot be saved: those who wanted to go may go. */
static void close_generation(struct coordinator *c)
{
    formation_end(c, c->is_stopping ? "the run stops" : "all members leave", 0);
    if (c->is_stopping) {
        boundary_finish(c);
        return;
    }
    for (uint32_t i = c->roster.count; i-- > 0;)
        if (c->roster.workers[i].state == WORKER_DRAINING)
            admission_dismiss(c, &c->roster.workers[i], "drained");
}

/* Takes the last snapshot of those who are about to go; goes on from there when it is done. */
static void close_or_snapshot(struct coordinator *c)
{
    core_set_state(c, RUN_CLOSING);
    succession_drop(c, "the generation closes");
    round_clear(c);
    int is_moot = c->step == 0 || c->world_size == 0 || c->closing_failures >= CLOSING_ATTEMPTS;
    if (is_moot || has_present_snapshot(c) || is_lost(c)) {
        c->closing_failures = 0;
        close_generation(c);
        return;
    }
    if (!c->snapshot.is_pending)
        boundary_snapshot(c, "");
}

static int reached_last_step(const struct coordinator *c)
{
    return c->config->train.steps > 0 && c->step >= (uint64_t)c->config->train.steps;
}

/* Who waits to come in, who wants to go, and does anybody stay? */
static void count_wishes(const struct coordinator *c, int *ret_joining, int *ret_leaving,
                         int *ret_staying)
{
    uint32_t members = 0;
    *ret_joining = *ret_leaving = *ret_staying = 0;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *worker = &c->roster.workers[i];
        *ret_joining += formation_is_coming(worker);
        *ret_leaving += worker->state == WORKER_DRAINING;
        *ret_staying += formation_is_candidate(worker);
        members += worker->rank >= 0 && worker->state != WORKER_DRAINING;
    }
    if (members >= engine_seats(c))
        *ret_joining = 0; /* there is no seat for them: they stand by */
    if (members == 0 && *ret_joining == 0 && *ret_staying > 0)
        *ret_leaving = 0; /* who takes over the state is still warming up */
    if (members == 0 && engine_seats(c) < 2)
        *ret_staying = 0; /* no generation has room for who has the state and who wants it */
}

static int is_staying(const struct worker *worker)
{
    return worker->rank >= 0 && worker->state != WORKER_DRAINING;
}

/* In the midst of a step, when the run is paused, those who go may have slices of the momentum that
 * nobody else has: then they wait for its end. */
static int may_go(const struct coordinator *c)
{
    return !c->config->optimizer.sharded || formation_is_whole(c) || core_is_covered(c, is_staying);
}

/* Nobody trains who could be disturbed. */
static void change_members(struct coordinator *c)
{
    formation_end(c, "members come or go", 0);
    boundary_dismiss_idle(c);
    formation_try(c);
}

void boundary_pass(struct coordinator *c)
{
    int joining, leaving, staying;
    count_wishes(c, &joining, &leaving, &staying);
    if (reached_last_step(c))
        c->is_stopping = 1;
    if (c->is_stopping || (leaving > 0 && staying == 0)) {
        close_or_snapshot(c);
        return;
    }
    if (c->is_snapshot_due && !c->snapshot.is_pending) {
        c->is_snapshot_due = 0;
        if (!has_present_snapshot(c))
            boundary_snapshot(c, "");
    }
    if (succession_is_due(c))
        succession_happen(c);
    else if (c->state == RUN_TRAINING)
        boundary_dismiss_idle(c); /* members come and go by succession.h */
    else if (joining > 0 || (leaving > 0 && may_go(c)))
        change_members(c);
}

/* What came of it is removed. */
static void drop_snapshot(struct coordinator *c)
{
    const struct core_snapshot *snapshot = &c->snapshot;
    struct action *action = actions_push(c->out, ACTION_DROP_SNAPSHOT);
    memcpy(action->snapshot.name, snapshot->name, sizeof(snapshot->name));
    action->snapshot.step = snapshot->step;
    action->snapshot.lineage = snapshot->lineage;
}

void boundary_lost_pusher(struct coordinator *c, uint64_t worker)
{
    struct core_snapshot *snapshot = &c->snapshot;
    int is_pushing = 0;
    for (uint32_t i = 0; snapshot->is_pending && i < snapshot->shares; i++)
        is_pushing |= snapshot->workers[i] == worker;
    if (is_pushing) {
        snapshot->is_pending = 0;
        drop_snapshot(c);
        actions_event(c->out, "snapshot_failed", 1, "snapshot=%s reason=\"a worker was lost\"",
                      snapshot->name);
    }
    if (c->state != RUN_CLOSING)
        return;
    c->world_size = 0;
    for (uint32_t i = 0; i < c->roster.count; i++)
        c->world_size += c->roster.workers[i].rank >= 0;
    close_or_snapshot(c);
}

static int is_pending(const struct coordinator *c, const char *name)
{
    return c->snapshot.is_pending && strcmp(c->snapshot.name, name) == 0;
}

void boundary_snapshot_done(struct coordinator *c, const char *name)
{
    if (!is_pending(c, name)) {
        snapshot_records_discard(c, name);
        return;
    }
    c->snapshot.is_pending = 0;
    struct journal_record record = {.kind = JOURNAL_SNAPSHOT};
    struct journal_snapshot *snapshot = &record.snapshot;
    snapshot->step = c->snapshot.step;
    snapshot->lineage = c->snapshot.lineage;
    snapshot->schedule = c->snapshot.schedule;
    memcpy(snapshot->name, c->snapshot.name, sizeof(snapshot->name));
    if (snapshot->lineage == c->lineage && snapshot->step <= c->step) {
        core_journal(c, &record);
        snapshot_records_add(c, snapshot);
        actions_event(c->out, "snapshot_complete", 0, "snapshot=%s step=%llu", snapshot->name,
                      (unsigned long long)snapshot->step);
    } else {
        snapshot_records_discard(c, name);
    }
    if (c->state == RUN_CLOSING)
        close_or_snapshot(c);
}

void boundary_snapshot_failed(struct coordinator *c, const char *name, const char *reason)
{
    if (!is_pending(c, name))
        return;
    c->snapshot.is_pending = 0;
    actions_event(c->out, "snapshot_failed", 1, "snapshot=%s reason=\"%s\"", name, reason);
    if (c->state == RUN_CLOSING) {
        c->closing_failures++;
        close_or_snapshot(c);
    }
}

void boundary_check_snapshot(struct coordinator *c)
{
    char name[JOURNAL_NAME_BYTES];
    int64_t patience_ms = c->config->snapshot.push_ms;
    if (c->state == RUN_CLOSING) /* whoever wants it stopped does not wait for ever */
        patience_ms /= CLOSING_ATTEMPTS;
    if (!c->snapshot.is_pending || c->now_ms - c->snapshot.begin_ms < patience_ms)
        return;
    memcpy(name, c->snapshot.name, sizeof(name));
    drop_snapshot(c);
    boundary_snapshot_failed(c, name, "members did not push it within snapshot.push_ms");
}

uint64_t boundary_oldest_step(const struct coordinator *c)
{
    return c->snapshot_count > 0 ? c->snapshots[0].step : 0;
}

/* Nobody else has what it has, and no snapshot does. */
static int is_needed(const struct coordinator *c, const struct worker *worker)
{
    return c->step > 0 && core_is_holder(c, worker) && !has_present_snapshot(c) &&
           !core_is_covered(c, formation_is_candidate);
}

void boundary_dismiss_idle(struct coordinator *c)
{
    for (uint32_t i = c->roster.count; i-- > 0;) {
        struct worker *worker = &c->roster.workers[i];
        int is_idle = worker->state == WORKER_DRAINING && worker->rank < 0 && worker->next_rank < 0;
        if (is_idle && !is_needed(c, worker))
            admission_dismiss(c, worker, "drained");
    }
}
