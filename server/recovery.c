/* recovery.c - restart and rollback. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/recovery.h"

#include <string.h>

#include "common/mem.h"
#include "server/deal.h"
#include "server/discharge.h"
#include "server/engine.h"
#include "server/journal_codec.h"
#include "server/round.h"
#include "server/shard_records.h"
#include "server/snapshot_records.h"

static enum status restore_start(struct coordinator *c, const struct journal_start *start)
{
    const struct config *config = c->config;
    if (start->batch_images != (uint64_t)config->train.batch_images ||
        start->slot_images != (uint64_t)config->train.slot_images)
        return fail(ERR_INPUT,
                    "train.batch_images and train.slot_images were %u and %u when this run began: "
                    "set them so, or start a new run in an empty folder",
                    start->batch_images, start->slot_images);
    if (start->block_records != (uint64_t)config->data.block_records ||
        start->window_blocks != (uint64_t)config->data.window_blocks ||
        start->seed != (uint64_t)config->run.seed)
        return fail(ERR_INPUT,
                    "data.block_records, data.window_blocks and run.seed were %u, %u and %llu when "
                    "this run began: set them so, or start a new run in an empty folder",
                    start->block_records, start->window_blocks, (unsigned long long)start->seed);
    if (c->has_run && start->epoch <= c->epoch)
        return fail(ERR_CORRUPT, "journal: epoch %llu follows epoch %llu",
                    (unsigned long long)start->epoch, (unsigned long long)c->epoch);
    c->has_run = 1;
    c->run = start->run;
    c->epoch = start->epoch;
    c->fingerprint_before = start->fingerprint;
    return OK;
}

static enum status restore_step(struct coordinator *c, const struct journal_step *step)
{
    if (step->step != c->step)
        return fail(ERR_CORRUPT, "journal: step %llu where step %llu must follow",
                    (unsigned long long)step->step, (unsigned long long)c->step);
    c->step++;
    quarantine_note(&c->quarantine, step->skips, step->skip_count);
    c->last = *step;
    c->last.skips = NULL;
    c->last.skip_count = 0;
    c->has_last = 1;
    c->schedule = step->schedule;
    return OK;
}

static void restore_generation(struct coordinator *c, const struct journal_generation *generation)
{
    c->generation = c->generations = generation->generation;
    c->member_count = generation->member_count;
    c->members = mem_resize(c->members, (c->member_count + 1) * sizeof(*c->members));
    for (uint32_t i = 0; i < c->member_count; i++)
        core_note_member(c, i, &generation->members[i]);
    if (c->member_count > 0)
        deal_evenly(c, c->member_count);
}

static void apply_rollback(struct coordinator *c, const struct journal_rollback *rollback)
{
    c->step = rollback->step;
    c->lineage = rollback->lineage;
    c->schedule = rollback->schedule;
    c->has_last = 0;
    c->is_snapshot_due = 0;
    c->member_count = 0;
    while (c->snapshot_count > 0 && c->snapshots[c->snapshot_count - 1].step > c->step)
        c->snapshot_count--;
}

enum status recovery_restore(struct coordinator *c, const struct journal_record *record)
{
    switch (record->kind) {
    case JOURNAL_START:
        return restore_start(c, &record->start);
    case JOURNAL_SHARD:
        return shard_records_restore(c, &record->shard);
    case JOURNAL_RETIRE:
        return shard_records_restore_retired(c, &record->retire);
    case JOURNAL_ENTRY:
        return stream_append(c->stream, &record->entry);
    case JOURNAL_GENERATION:
        restore_generation(c, &record->generation);
        return OK;
    case JOURNAL_STEP:
        return restore_step(c, &record->step);
    case JOURNAL_SNAPSHOT:
        snapshot_records_add(c, &record->snapshot);
        return OK;
    case JOURNAL_ROLLBACK:
        apply_rollback(c, &record->rollback);
        return OK;
    case JOURNAL_PAUSE:
        c->is_paused = record->pause.is_paused;
        return OK;
    case JOURNAL_DEAL:
        return deal_restore(c, &record->deal);
    case JOURNAL_DISCHARGE:
        discharge_restore(c, &record->discharge);
        return OK;
    case JOURNAL_SNAPSHOT_REMOVED:
        snapshot_records_forget(c, record->removed.name);
        return OK;
    case JOURNAL_POLICY:
        expiry_take(c, &record->policy);
        return OK;
    case JOURNAL_STOP:
        c->is_stop_ordered = c->is_stopping = record->stop.is_stopping;
        return OK;
    }
    return fail(ERR_CORRUPT, "journal: record of unknown kind %d", (int)record->kind);
}

/* Its place in the last generation; -1 = none. */
static int last_rank(const struct coordinator *c, uint64_t worker)
{
    for (uint32_t i = 0; i < c->member_count; i++)
        if (c->members[i].worker == worker)
            return (int)i;
    return -1;
}

void recovery_watch(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->member_count; i++) {
        if (c->members[i].boot != c->boot || c->members[i].pid == 0)
            continue;
        struct action *action = actions_push(c->out, ACTION_WATCH);
        action->watch.worker = c->members[i].worker;
        action->watch.pid = c->members[i].pid;
    }
}

/* Those who did not come back by now are watched no longer: they may be anybody's processes. */
static void unwatch_absent(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->member_count; i++)
        if (roster_find(&c->roster, c->members[i].worker) == NULL)
            actions_push(c->out, ACTION_UNWATCH)->watch.worker = c->members[i].worker;
}

void recovery_note_loss(struct coordinator *c, uint64_t worker)
{
    int rank = last_rank(c, worker);
    if (rank >= 0)
        c->members[rank].is_gone = 1;
}

void recovery_note_death(struct coordinator *c, uint64_t worker)
{
    int rank = last_rank(c, worker);
    if (rank < 0 || c->members[rank].is_gone)
        return;
    recovery_note_loss(c, worker);
    actions_event(
        c->out, "worker_gone", 1,
        "worker=%s generation=%llu reason=\"its process ended while there was no server\"",
        c->members[rank].name, (unsigned long long)c->generation);
}

/* Is it the verdict on the present step, given to this generation before we began? */
static int is_ours(const struct coordinator *c, const struct journal_record *record)
{
    const struct journal_step *step = &record->step;
    return record->kind == JOURNAL_STEP && step->step == c->step && step->lineage == c->lineage &&
           step->generation == c->generation && step->epoch < c->epoch &&
           step->world_size == c->member_count && step->skip_count == 0 &&
           step->position == c->step * c->batch_images && step->images == c->batch_images;
}

/* Who came back before hearing of this verdict may not hold the present state any more. */
static void judge_again(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (!core_is_holder(c, &c->roster.workers[i]))
            c->roster.workers[i].rank = -1;
}

static void learn(struct coordinator *c, const struct worker *from,
                  const struct journal_record *record)
{
    core_journal(c, record);
    c->step++;
    c->schedule = record->step.schedule;
    core_keep_last(c, &record->step);
    actions_event(c->out, "verdict_recovered", 1,
                  "step=%llu generation=%llu worker=%s reason=\"the host of the server before fell "
                  "when it had given it\"",
                  (unsigned long long)record->step.step, (unsigned long long)c->generation,
                  from->name);
    actions_push(c->out, ACTION_STEP)->step = c->last;
    judge_again(c);
}

void recovery_hear(struct coordinator *c, const struct worker *worker,
                   const struct message_hello *hello)
{
    struct journal_record record;
    if (hello->record_length == 0 || !worker->has_state || worker->lineage != c->lineage ||
        worker->step != c->step + 1 || last_rank(c, worker->id) < 0)
        return;
    if (journal_decode(hello->record, hello->record_length, &record) != OK)
        return; /* damaged, or of a version that writes others: it counts as none */
    if (is_ours(c, &record))
        learn(c, worker, &record);
    journal_record_done(&record);
}

/* While recovering, rank >= 0 marks a worker that is back in the generation of before. */
void recovery_note_hello(struct coordinator *c, struct worker *worker, uint64_t generation)
{
    int is_back = generation == c->generation && core_is_holder(c, worker);
    worker->rank = is_back ? last_rank(c, worker->id) : -1;
    recovery_try(c);
}

void recovery_note_helpers_end(struct coordinator *c)
{
    c->is_severed = 1;
}

static void go_on(struct coordinator *c)
{
    unwatch_absent(c);
    c->world_size = c->member_count;
    c->group.engine = engine_of(c, c->world_size, roster_find_rank);
    c->group.has_helpers = c->group.engine == ENGINE_MPI;
    round_prepare(c);
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        struct worker *worker = roster_find_rank(&c->roster, (int)rank);
        worker->state = worker->state == WORKER_DRAINING ? WORKER_DRAINING : WORKER_MEMBER;
        worker->is_formed = 1;
        if (core_awaits_verdict(c, worker))
            round_send_verdict(c, worker);
    }
    actions_event(c->out, "run_resumed", 0, "generation=%llu step=%llu members=%u",
                  (unsigned long long)c->generation, (unsigned long long)c->step, c->world_size);
    round_begin(c);
}

static void give_up(struct coordinator *c)
{
    unwatch_absent(c);
    if (engine_may_have_helpers(c, c->member_count))
        actions_push(c->out, ACTION_STOP_HELPERS)->helpers.generation = c->generation;
    for (uint32_t i = 0; i < c->roster.count; i++)
        c->roster.workers[i].rank = -1;
    core_set_state(c, RUN_WAITING);
}

void recovery_try(struct coordinator *c)
{
    uint32_t settled = 0, back = 0; /* settled: it is here, or will not come */
    for (uint32_t i = 0; i < c->member_count; i++) {
        const struct worker *worker = roster_find(&c->roster, c->members[i].worker);
        settled += worker != NULL || c->members[i].is_gone;
        back += worker != NULL && worker->rank >= 0;
    }
    int is_whole = c->member_count > 0 && back == c->member_count && !c->is_void;
    if (is_whole && c->is_severed) /* which only those know who had helpers */
        is_whole = engine_of(c, c->member_count, roster_find_rank) != ENGINE_MPI;
    if (is_whole)
        go_on(c);
    else if (settled == c->member_count || c->now_ms - c->state_ms > 2 * c->config->server.lost_ms)
        give_up(c);
}

int recovery_roll_back(struct coordinator *c, const struct journal_snapshot *to)
{
    /* Of the stream only what the oldest snapshot needs is kept, and all snapshots may be gone. */
    if ((to != NULL ? to->step : 0) * c->batch_images < stream_begin(c->stream)) {
        actions_event(
            c->out, "server_restarts", 1,
            "reason=\"the run goes back to before what is kept in memory of its stream\"");
        actions_push(c->out, ACTION_RESTART);
        return 0;
    }
    struct journal_record record = {.kind = JOURNAL_ROLLBACK};
    struct journal_rollback *rollback = &record.rollback;
    rollback->lineage = c->lineage + 1;
    schedule_init(&rollback->schedule);
    if (to != NULL) {
        rollback->step = to->step;
        rollback->schedule = to->schedule;
        memcpy(rollback->snapshot, to->name, sizeof(rollback->snapshot));
    }
    core_journal(c, &record);
    actions_event(c->out, "rolled_back", 1, "from_step=%llu to_step=%llu lineage=%u snapshot=%s",
                  (unsigned long long)c->step, (unsigned long long)rollback->step,
                  rollback->lineage, rollback->snapshot);
    apply_rollback(c, rollback);
    c->attempt = 0;
    c->horizon = c->step;
    shard_records_reopen(c);
    return 1;
}
