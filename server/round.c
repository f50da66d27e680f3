/* round.c - plans, votes and verdicts. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/round.h"

#include <math.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "server/agreement.h"
#include "server/blame.h"
#include "server/boundary.h"
#include "server/deal.h"
#include "server/formation.h"
#include "server/shard_records.h"
#include "server/succession.h"

void round_prepare(struct coordinator *c)
{
    c->votes = mem_array(c->world_size, sizeof(*c->votes));
    c->planned = c->step;
}

/* From now on it may be at a step, in which the momentum is nowhere whole: what it has for sure are
 * the slices that it keeps. */
static void note_begun(const struct coordinator *c, struct worker *worker)
{
    core_note_slices(worker, (uint32_t)worker->rank, c->world_size);
}

void round_begin(struct coordinator *c)
{
    for (uint32_t rank = 0; rank < c->world_size; rank++)
        note_begun(c, roster_find_rank(&c->roster, (int)rank));
    core_set_state(c, RUN_TRAINING);
    c->planned = c->step;
    c->step_ms = c->now_ms;
    round_plan(c);
}

static void clear_votes(struct coordinator *c)
{
    for (uint32_t rank = 0; c->votes != NULL && rank < c->world_size; rank++) {
        message_done(&c->votes[rank]);
        c->votes[rank] = (struct message){0};
    }
}

void round_clear(struct coordinator *c)
{
    clear_votes(c);
    mem_free(c->votes);
    c->votes = NULL;
}

/* Journals and appends catalogue entries until `wanted` positions are described or no more can be.
 */
static void extend_stream(struct coordinator *c, uint64_t wanted)
{
    const struct stream_entry *entry;
    uint64_t horizon = (c->horizon > c->step ? c->horizon : c->step) * c->batch_images;
    while (stream_next_entry(c->stream, horizon, wanted, &entry)) {
        struct journal_record record = {.kind = JOURNAL_ENTRY, .entry = *entry};
        core_journal(c, &record);
        enum status status = stream_append(c->stream, entry);
        CHECK(status == OK);
    }
}

void round_revise(struct coordinator *c)
{
    extend_stream(c, 0);
}

/* To a member of the generation that the step belongs to; others are not told. */
static void send_plan(struct coordinator *c, const struct worker *worker, uint64_t step)
{
    uint32_t slot_images = (uint32_t)c->config->train.slot_images;
    int is_next = succession_has_step(c, step);
    const uint32_t *starts = is_next ? c->next.starts : deal_of(c, step);
    int rank = is_next ? worker->next_rank : worker->rank;
    if (rank < 0)
        return;
    uint32_t first = starts[rank];
    uint32_t slots = starts[rank + 1] - first;
    uint32_t records = slots * slot_images;
    struct message message = {
        .kind = MESSAGE_PLAN,
        .header = {.generation = is_next ? c->next.generation : c->generation, .step = step},
        .plan =
            {
                .slot_count = slots,
                .slots = mem_array(slots, sizeof(struct message_slot)),
                .slot_images = slot_images,
                .slots_in_step = (uint32_t)config_slots(c->config),
                .record_count = records,
                .shards = mem_array(records, sizeof(uint32_t)),
                .records = mem_array(records, sizeof(uint32_t)),
                .wants_parameter_digest =
                    step % (uint64_t)c->config->server.digest_every_steps == 0,
            },
    };
    uint64_t position = step * c->batch_images + (uint64_t)first * slot_images;
    for (uint32_t i = 0; i < slots; i++)
        message.plan.slots[i] =
            (struct message_slot){.slot = first + i, .position = position + i * slot_images};
    for (uint32_t i = 0; i < records; i++) {
        struct stream_place place = stream_find(c->stream, position + i);
        message.plan.shards[i] = place.shard;
        message.plan.records[i] = place.record;
    }
    core_send(c, worker, &message);
    message_done(&message);
}

static void plan_step(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        send_plan(c, &c->roster.workers[i], c->planned);
    if (c->planned == c->step)
        c->step_ms = c->now_ms;
    c->planned++;
    if (c->planned > c->horizon)
        c->horizon = c->planned;
}

void round_plan(struct coordinator *c)
{
    if (c->state != RUN_TRAINING && c->state != RUN_STARVED && c->state != RUN_PAUSED)
        return;
    uint64_t end = c->step + (uint64_t)c->config->server.plan_ahead_steps;
    uint64_t steps = (uint64_t)c->config->train.steps;
    if (steps > 0 && end > steps)
        end = steps;
    if (c->next.state == NEXT_DOOMED && end > c->next.step)
        end = c->next.step;
    while (c->planned < end) {
        uint64_t wanted = (c->planned + 1) * c->batch_images;
        extend_stream(c, wanted);
        if (stream_end(c->stream) < wanted)
            break;
        plan_step(c);
    }
    if (c->planned > c->step)
        core_set_state(c, c->is_paused ? RUN_PAUSED : RUN_TRAINING);
    else if (c->state != RUN_STARVED) {
        core_set_state(c, RUN_STARVED);
        shard_records_release(c);
        actions_event(c->out, "stream_dry", 0, "step=%llu position=%llu stream_end=%llu",
                      (unsigned long long)c->step, (unsigned long long)(c->step * c->batch_images),
                      (unsigned long long)stream_end(c->stream));
    }
}

void round_send_verdict(struct coordinator *c, const struct worker *worker)
{
    struct message message = {
        .kind = MESSAGE_VERDICT,
        .header = {.generation = c->last.generation, .step = c->last.step},
        .verdict = core_last_verdict(c),
    };
    core_send(c, worker, &message);
}

void round_resume(struct coordinator *c, struct worker *worker)
{
    if (worker->rank >= 0)
        note_begun(c, worker);
    if (core_awaits_verdict(c, worker))
        round_send_verdict(c, worker);
    for (uint64_t step = c->step; step < c->planned; step++)
        send_plan(c, worker, step);
}

static int is_agreed(struct coordinator *c, int is_parameter)
{
    struct agreement agreement = {
        .event = "digests_differ",
        .of = is_parameter ? "parameters" : "gradient",
        .reason = is_parameter ? "parameters differ" : "reduced gradients differ",
        .giver = AGREEMENT_NO_GIVER,
    };
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        const struct message_ready *ready = &c->votes[rank].ready;
        agreement.digests[rank] = is_parameter ? ready->parameter_digest : ready->digest;
    }
    return agreement_holds(c, &agreement);
}

/* Is it one of the records that the member of this rank was told to train on? */
static int is_planned(const struct coordinator *c, uint32_t rank, const struct message_skip *skip)
{
    const uint32_t *starts = deal_of(c, c->step);
    uint64_t slot_images = (uint64_t)c->config->train.slot_images;
    uint64_t step_start = c->step * c->batch_images;
    if (skip->position < step_start + starts[rank] * slot_images ||
        skip->position >= step_start + starts[rank + 1] * slot_images)
        return 0;
    struct stream_place place = stream_find(c->stream, skip->position);
    return place.shard == skip->shard && place.record == skip->record;
}

/* The records that a vote calls bad go into the journal for good: only what was planned is
 * believed. Their reasons are borrowed from the vote. */
static void take_skips(struct coordinator *c, uint32_t rank, struct journal_step *step)
{
    const struct message_ready *ready = &c->votes[rank].ready;
    uint32_t refused = 0;
    for (uint32_t i = 0; i < ready->skip_count; i++)
        if (is_planned(c, rank, &ready->skips[i]))
            step->skips[step->skip_count++] = ready->skips[i];
        else
            refused++;
    if (refused > 0)
        actions_event(c->out, "skips_refused", 1,
                      "step=%llu worker=%s count=%u reason=\"it was told to train on others\"",
                      (unsigned long long)c->step, roster_find_rank(&c->roster, (int)rank)->name,
                      refused);
}

/* Images that nobody can say what was trained in their place: bad slots, mostly. */
static uint32_t count_unaccounted(const struct coordinator *c)
{
    uint32_t count = 0;
    for (uint32_t rank = 0; rank < c->world_size; rank++)
        count += c->votes[rank].ready.unaccounted;
    return count;
}

/* What the votes say together. */
static void sum_votes(struct coordinator *c, struct journal_step *step)
{
    uint32_t skips = 0;
    step->is_commit = 1;
    for (uint32_t rank = 0; rank < c->world_size; rank++)
        skips += c->votes[rank].ready.skip_count;
    step->skips = mem_array(skips, sizeof(*step->skips));
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        const struct message_ready *ready = &c->votes[rank].ready;
        step->is_commit &= ready->is_finite && isfinite(ready->loss) && ready->unaccounted == 0;
        for (int phase = 0; phase < PHASE_COUNT; phase++)
            if (ready->phase_us[phase] > step->phase_us[phase])
                step->phase_us[phase] = ready->phase_us[phase];
        take_skips(c, rank, step);
    }
    step->loss = c->votes[0].ready.loss;
    step->grad_norm = c->votes[0].ready.grad_norm;
    step->digest = c->votes[0].ready.digest;
    step->parameter_digest = c->votes[0].ready.parameter_digest;
    step->data_wait_ms = step->phase_us[PHASE_DATA] / 1000;
}

static void advance_schedule(struct coordinator *c, const struct journal_step *step)
{
    if (!step->is_commit) {
        uint32_t unaccounted = count_unaccounted(c);
        actions_event(c->out, "step_skipped", 1, "step=%llu loss=%g unaccounted=%u reason=\"%s\"",
                      (unsigned long long)step->step, step->loss, unaccounted,
                      unaccounted > 0 ? "images without a record that can be decoded"
                                      : "not finite");
        return;
    }
    enum schedule_event event = schedule_commit(c->config, &c->schedule, step->step, step->loss);
    if (event == SCHEDULE_CUT)
        actions_event(c->out, "rate_cut", 0, "step=%llu cuts=%u lr=%g window_mean=%g",
                      (unsigned long long)step->step, c->schedule.cuts,
                      schedule_lr(c->config, &c->schedule, step->step + 1),
                      c->schedule.window_mean);
    else if (event == SCHEDULE_COLLAPSE)
        actions_event(c->out, "loss_stuck", 1, "step=%llu window_mean=%g uniform_loss=%g",
                      (unsigned long long)step->step, c->schedule.window_mean,
                      config_uniform_loss(c->config));
}

/* The point of no return: from this record on, the step has happened. */
static void journal_verdict(struct coordinator *c)
{
    struct journal_record record = {.kind = JOURNAL_STEP};
    struct journal_step *step = &record.step;
    *step = (struct journal_step){
        .step = c->step,
        .generation = c->generation,
        .epoch = c->epoch,
        .lineage = c->lineage,
        .attempt = c->attempt,
        .world_size = c->world_size,
        .position = c->step * c->batch_images,
        .images = (uint32_t)c->batch_images,
        .lr = schedule_lr(c->config, &c->schedule, c->step),
        .unequal_digests = c->unequal_digests,
        .step_ms = c->now_ms - c->step_ms,
    };
    sum_votes(c, step);
    advance_schedule(c, step);
    step->schedule = c->schedule;
    core_journal(c, &record);
    quarantine_note(&c->quarantine, step->skips, step->skip_count);
    for (uint32_t i = 0; i < step->skip_count; i++)
        actions_event(c->out, "record_quarantined", 1,
                      "step=%llu position=%llu shard=%u record=%u reason=\"%s\"",
                      (unsigned long long)c->step, (unsigned long long)step->skips[i].position,
                      step->skips[i].shard, step->skips[i].record,
                      step->skips[i].reason != NULL ? step->skips[i].reason : "");
    core_keep_last(c, step);
    mem_free(step->skips);
}

static void decide(struct coordinator *c)
{
    journal_verdict(c);
    deal_learn(c);
    blame_learn(c);
    c->step++;
    c->attempt = 0;
    c->unequal_digests = 0;
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        struct worker *worker = roster_find_rank(&c->roster, (int)rank);
        round_send_verdict(c, worker);
        worker->is_ready = 0;
        worker->deviations = 0;
        worker->images_trained += c->votes[rank].ready.images;
        memcpy(worker->phase_us, c->votes[rank].ready.phase_us, sizeof(worker->phase_us));
    }
    struct action *action = actions_push(c->out, ACTION_STEP);
    action->step = c->last;
    action->step.skip_count = 0;
    clear_votes(c);
    c->step_ms = c->now_ms;
    stream_forget(c->stream, boundary_oldest_step(c) * c->batch_images);
    uint64_t every = (uint64_t)c->config->snapshot.every_steps;
    c->is_snapshot_due |= every > 0 && c->step % every == 0;
    if (c->step % CORE_RELEASE_STEPS == 0)
        shard_records_release(c);
    boundary_pass(c);
    deal_try(c);
    round_plan(c);
}

void round_try_decide(struct coordinator *c)
{
    if (c->state != RUN_TRAINING || c->is_paused)
        return;
    for (uint32_t rank = 0; rank < c->world_size; rank++)
        if (c->votes[rank].kind == 0)
            return;
    if (is_agreed(c, 1) && is_agreed(c, 0))
        decide(c);
}

void round_ready(struct coordinator *c, struct worker *worker, const struct message *message)
{
    const struct message_header *header = &message->header;
    if (c->has_last && header->step == c->last.step && header->step + 1 == c->step &&
        header->generation == c->last.generation && header->lineage == c->lineage) {
        round_send_verdict(c, worker); /* it did not hear the first time */
        return;
    }
    int is_training = c->state == RUN_TRAINING || c->state == RUN_PAUSED || c->state == RUN_STARVED;
    if (core_refuses(c, header) || !is_training || worker->rank < 0 || worker->is_ready)
        return;
    worker->is_ready = 1;
    message_copy(message, &c->votes[worker->rank]);
    round_try_decide(c);
}
