/* oracle.c - the promises, checked against the whole world after every event.
 *
 *   I1   nobody has applied a step that is not committed, but for one that the journal lost with
 *        its host and that is decided again the same way, or given up in a new lineage
 *   I2   who holds a state holds the one that the journal's history leads to
 *   I3   every position of the stream is trained or quarantined exactly once, as the catalogue says
 *   I4   generations only grow; a step is committed by the votes of all members of one generation
 *   I5   all members of a generation begin with the same state, which somebody really holds
 *   I6   committed steps have no gap
 *   I7   epochs of the server only grow
 *   I8   an image of a retired shard is not planned beyond what was planned when it retired
 *   I9   the rate follows from the committed losses alone, cut at most once a step
 *   I10  what is of an older epoch or generation changes nothing
 *   I11  a snapshot is the state of its step, with the schedule of that step
 *   I12  nothing grows without a bound
 *   I13  without faults steps are committed, and a run that is told to stop ends (world.c)
 *   I14  no innocent worker is sent away
 *   I15  a shard is broken for all from one step on, or for none; what is closed is not planned
 *   I16  nobody says that it has a slice of a sharded momentum which it does not have; who forms
 * has all of them together (crew.c)
 *
 * and at the end by `seer audit` (testimony.c): what it must find is in tests/unit/test_hearing.c,
 * here it must find nothing. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/world.h"

#include <string.h>

#include "common/hash.h"
#include "server/core.h"
#include "server/schedule.h"
#include "server/stream.h"

enum {
    BAD_RECORDS = 61,   /* one in so many cannot be decoded */
    CALM_PLANS = 1,     /* beyond plan_ahead_steps: the one that is being computed */
    FLIPPED_MS = 20000, /* two members of whom one computes wrongly cannot tell which */
};

uint64_t oracle_first_hash(void)
{
    return hash_bytes("initial", 7);
}

uint64_t oracle_apply(uint64_t hash, uint64_t step, int is_commit, uint64_t gradient, double lr)
{
    if (!is_commit)
        gradient = 0;
    uint64_t words[4] = {hash, step, gradient, 0};
    if (is_commit)
        memcpy(&words[3], &lr, sizeof(lr));
    return hash_bytes(words, sizeof(words));
}

int oracle_is_bad(uint32_t shard, uint32_t record)
{
    uint32_t words[2] = {shard, record};
    return hash_bytes(words, sizeof(words)) % BAD_RECORDS == 0;
}

void oracle_check_known(struct world *world, const struct sim_worker *worker,
                        const struct message_plan *plan, uint64_t known_shards)
{
    for (uint32_t i = 0; i < plan->record_count; i++)
        if ((known_shards >> plan->shards[i] & 1) == 0 && world->broken_from[plan->shards[i]] == 0)
            world_violation(world,
                            "I15: worker %llu is to train on shard %u, which it does not have",
                            (unsigned long long)worker->id, plan->shards[i]);
}

/* Does not depend on the order in which it is summed over the quarantined of a step. */
static uint64_t hash_skip(uint32_t shard, uint32_t record, uint64_t position)
{
    uint64_t words[3] = {shard, record, position};
    return hash_bytes(words, sizeof(words));
}

void oracle_note_vote(struct world *world, const struct message *ready)
{
    const struct message_header *header = &ready->header;
    world->votes[header->worker % WORLD_VOTES] = (struct vote){
        .worker = header->worker,
        .generation = header->generation,
        .step = header->step,
        .digest = ready->ready.digest,
        .lineage = header->lineage,
    };
}

/* Of the worker's votes the server counts one at a time. */
static int has_voted(const struct world *world, uint64_t id)
{
    struct coordinator_view view;
    if (world->coordinator == NULL)
        return 0;
    coordinator_view(world->coordinator, &view);
    const struct worker *worker = roster_find((struct roster *)(uintptr_t)view.roster, id);
    return worker != NULL && worker->is_ready;
}

int oracle_is_stale(const struct world *world, const struct message *message)
{
    const struct message_header *header = &message->header;
    return message->kind == MESSAGE_READY && !has_voted(world, header->worker) &&
           (header->generation != world->generation || header->step != world->committed ||
            header->lineage != world->lineage);
}

uint64_t oracle_stale_count(const struct world *world)
{
    struct coordinator_view view;
    uint64_t sum = 0;
    if (world->coordinator == NULL)
        return 0;
    coordinator_view(world->coordinator, &view);
    for (int kind = 0; kind < STALE_KIND_COUNT; kind++)
        sum += view.stale[kind];
    return sum;
}

void oracle_disbelieved(struct world *world, const struct message *ready, uint64_t stale_count)
{
    int is_repeated = ready->header.step + 1 == world->committed; /* and gets its verdict again */
    if (world->coordinator != NULL && !is_repeated && oracle_stale_count(world) <= stale_count)
        world_violation(
            world, "I10: a vote on step %llu of worker %llu is refused, but not counted",
            (unsigned long long)ready->header.step, (unsigned long long)ready->header.worker);
    if (has_voted(world, ready->header.worker))
        world_violation(world, "I10: the vote of worker %llu in generation %llu counts in %llu",
                        (unsigned long long)ready->header.worker,
                        (unsigned long long)ready->header.generation,
                        (unsigned long long)world->generation);
}

static void check_votes(struct world *world, const struct journal_step *step)
{
    for (uint32_t rank = 0; rank < world->member_count; rank++) {
        const struct vote *vote = &world->votes[world->members[rank] % WORLD_VOTES];
        if (vote->worker != world->members[rank] || vote->generation != step->generation ||
            vote->step != step->step || vote->lineage != step->lineage ||
            vote->digest != step->digest)
            world_violation(world, "I4: step %llu is committed without the vote of worker %llu",
                            (unsigned long long)step->step,
                            (unsigned long long)world->members[rank]);
    }
    if (step->world_size != world->member_count)
        world_violation(world, "I4: step %llu is committed by %u of %u members",
                        (unsigned long long)step->step, step->world_size, world->member_count);
}

static void check_schedule(struct world *world, const struct journal_step *step)
{
    struct schedule_state schedule = world->schedules[step->step];
    double lr = schedule_lr(&world->config, &schedule, step->step);
    uint32_t cuts = schedule.cuts;
    if (step->is_commit)
        schedule_commit(&world->config, &schedule, step->step, step->loss);
    if (step->lr != lr || memcmp(&schedule, &step->schedule, sizeof(schedule)) != 0 ||
        step->schedule.cuts > cuts + 1)
        world_violation(world, "I9: step %llu has rate %g where %g is due",
                        (unsigned long long)step->step, step->lr, lr);
    world->schedules[step->step + 1] = schedule;
}

static void check_step(struct world *world, const struct journal_step *step)
{
    if (step->step != world->committed)
        world_violation(world, "I6: step %llu is journaled where step %llu must follow",
                        (unsigned long long)step->step, (unsigned long long)world->committed);
    if (world->is_peaceful && step->attempt > 0)
        world_violation(world, "step %llu was begun %u times before, and nobody died",
                        (unsigned long long)step->step, step->attempt);
    if (step->position != step->step * world->batch || step->images != world->batch)
        world_violation(world, "I3: step %llu takes positions from %llu",
                        (unsigned long long)step->step, (unsigned long long)step->position);
    int is_healed = fall_heals(world, step);
    if (step->generation != world->generation || step->lineage != world->lineage ||
        (step->epoch != world->epoch && !is_healed))
        world_violation(world, "I10: the verdict of step %llu belongs to another generation",
                        (unsigned long long)step->step);
    if (step->step + 1 >= WORLD_STEPS_MAX)
        world_violation(world, "I13: %d steps and no end", WORLD_STEPS_MAX);
    if (!is_healed)
        check_votes(world, step);
    check_schedule(world, step);
    world->is_skipped[step->step] = !step->is_commit;
    world->skips[step->step] = 0;
    for (uint32_t i = 0; i < step->skip_count; i++)
        world->skips[step->step] +=
            hash_skip(step->skips[i].shard, step->skips[i].record, step->skips[i].position);
    world->gradients[step->step] = step->digest;
    world->hashes[step->step + 1] = oracle_apply(world->hashes[step->step], step->step,
                                                 step->is_commit, step->digest, step->lr);
    world->committed++;
    world->commits++;
}

/* Nothing goes wrong any more, so what living workers hold is not given up. */
static void check_holders(struct world *world)
{
    struct slice_holding holdings[WORLD_WORKERS];
    uint32_t count = 0;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        const struct model *model = &world->workers[i].model;
        struct member_view view;
        if (!world->workers[i].is_alive)
            continue;
        member_view(world->workers[i].member, &view);
        if (view.state != MEMBER_STATE_GONE && view.has_state && model->is_valid &&
            model->lineage == world->lineage && model->step == world->committed)
            holdings[count++] =
                world->config.optimizer.sharded ? view.slices : (struct slice_holding){0, 1};
    }
    if (slice_find_cut(holdings, count) > 0)
        world_violation(world, "the state of step %llu is given up while %u workers have it",
                        (unsigned long long)world->committed, count);
}

static void check_rollback(struct world *world, const struct journal_rollback *rollback)
{
    if (rollback->step > world->committed || rollback->lineage != world->lineage + 1)
        world_violation(world, "rollback to step %llu, lineage %u",
                        (unsigned long long)rollback->step, rollback->lineage);
    if (world->is_calm)
        check_holders(world);
    if (memcmp(&rollback->schedule, &world->schedules[rollback->step],
               sizeof(rollback->schedule)) != 0)
        world_violation(world, "I9: the rollback to step %llu brings another schedule",
                        (unsigned long long)rollback->step);
    for (uint32_t shard = 0; shard < WORLD_SHARDS_MAX; shard++)
        if (world->broken_from[shard] > rollback->step + 1)
            world->broken_from[shard] = rollback->step + 1;
    world->horizon = rollback->step;
    world->committed = rollback->step;
    world->lineage = rollback->lineage;
    world->late.is_lost = 0;
    world->rollbacks++;
}

static void note_broken(struct world *world, uint32_t shard)
{
    world->broken++;
    if (world->broken_from[shard] == 0)
        world->broken_from[shard] = world->committed + 1;
}

/* It stays in what is planned, and in the window that is begun there. */
static void note_retirement(struct world *world, uint32_t shard)
{
    world->is_retiring[shard] = 1;
    world->retired_from[shard] =
        world->horizon * world->batch +
        (uint64_t)(world->config.data.block_records * world->config.data.window_blocks);
}

static void check_start(struct world *world, const struct journal_start *start)
{
    if (start->epoch <= world->epoch)
        world_violation(world, "I7: epoch %llu after epoch %llu", (unsigned long long)start->epoch,
                        (unsigned long long)world->epoch);
    world->epoch = start->epoch;
    world->horizon = world->committed + CORE_PLAN_AHEAD_MAX; /* as far as its forerunner may have */
    for (uint32_t shard = 0; shard < WORLD_SHARDS_MAX; shard++)
        if (world->is_retiring[shard]) /* it died before the catalogue said so */
            note_retirement(world, shard);
}

static void check_generation(struct world *world, const struct journal_generation *generation)
{
    if (generation->member_count > 0 && generation->generation <= world->generation)
        world_violation(world, "I4: generation %llu again",
                        (unsigned long long)generation->generation);
    if (generation->step != world->committed)
        world_violation(world, "I5: a generation begins at step %llu of %llu",
                        (unsigned long long)generation->step, (unsigned long long)world->committed);
    if (generation->member_count > world->slots)
        world_violation(world, "I12: %u members for %u slots", generation->member_count,
                        world->slots);
    world->generation = generation->generation;
    world->member_count = generation->member_count;
    for (uint32_t rank = 0; rank < generation->member_count; rank++)
        world->members[rank] = generation->members[rank].worker;
}

static void check_snapshot(struct world *world, const struct journal_snapshot *snapshot)
{
    const struct stored_snapshot *stored = crew_find_stored(world, snapshot->name);
    if (stored == NULL || stored->step != snapshot->step || snapshot->step > world->committed ||
        snapshot->lineage != world->lineage || stored->hash != world->hashes[snapshot->step] ||
        memcmp(&snapshot->schedule, &world->schedules[snapshot->step],
               sizeof(snapshot->schedule)) != 0)
        world_violation(world, "I11: snapshot '%s' is not the state of step %llu", snapshot->name,
                        (unsigned long long)snapshot->step);
}

static void check_discharge(struct world *world, const struct journal_discharge *discharge)
{
    for (int i = 0; i < WORLD_WORKERS; i++)
        world->workers[i].wants_to_leave |= world->workers[i].id == discharge->worker;
    if (discharge->is_evicted)
        world->evicted[world->evicted_count++ % WORLD_EVICTED_MAX] = discharge->worker;
}

void oracle_journal(struct world *world, const struct journal_record *record)
{
    if (record->kind == JOURNAL_START)
        check_start(world, &record->start);
    else if (record->kind == JOURNAL_GENERATION)
        check_generation(world, &record->generation);
    else if (record->kind == JOURNAL_STEP)
        check_step(world, &record->step);
    else if (record->kind == JOURNAL_ROLLBACK)
        check_rollback(world, &record->rollback);
    else if (record->kind == JOURNAL_SNAPSHOT)
        check_snapshot(world, &record->snapshot);
    else if (record->kind == JOURNAL_DISCHARGE)
        check_discharge(world, &record->discharge);
    else if (record->kind == JOURNAL_DEAL)
        world->deals++;
    else if (record->kind == JOURNAL_RETIRE) {
        note_retirement(world, record->retire.shard);
        if (record->retire.is_broken)
            note_broken(world, record->retire.shard);
    } else if (record->kind == JOURNAL_ENTRY)
        memset(world->is_retiring, 0, sizeof(world->is_retiring));
}

void oracle_sent(struct world *world, const struct message *message)
{
    if (message->kind == MESSAGE_PLAN && message->header.step >= world->horizon)
        world->horizon = message->header.step + 1;
}

/* A message of an epoch or for a generation that the worker knows to be over moves nothing. */
void oracle_heard(struct world *world, struct sim_worker *worker, const struct message *message,
                  uint64_t generation, uint32_t action_count)
{
    const struct message_header *header = &message->header;
    int is_stale = header->epoch < worker->epoch ||
                   (message->kind == MESSAGE_REGROUP && header->generation < generation);
    if (is_stale && action_count > 0)
        world_violation(world, "I10: worker %llu listens to a %s of epoch %llu, generation %llu",
                        (unsigned long long)worker->id, message_kind_name(message->kind),
                        (unsigned long long)header->epoch, (unsigned long long)header->generation);
    if (message->kind == MESSAGE_WELCOME && header->epoch > worker->epoch)
        worker->epoch = header->epoch;
}

/* I1, I2: who holds a state of this history holds exactly what the journal says. */
static void check_model(struct world *world, const struct sim_worker *worker)
{
    const struct model *model = &worker->model;
    if (!model->is_valid || model->lineage != world->lineage)
        return;
    if (fall_explains(world, model))
        return;
    if (model->step > world->committed)
        world_violation(world, "I1: worker %llu has applied step %llu, committed are %llu",
                        (unsigned long long)worker->id, (unsigned long long)model->step - 1,
                        (unsigned long long)world->committed);
    if (model->hash != world->hashes[model->step])
        world_violation(world, "I2: worker %llu holds another state of step %llu",
                        (unsigned long long)worker->id, (unsigned long long)model->step);
}

/* I16 */
static void check_slices(struct world *world, const struct sim_worker *worker)
{
    const struct model *model = &worker->model;
    const struct slice_holding has = crew_holding(worker);
    struct member_view says;
    member_view(worker->member, &says);
    if (!world->config.optimizer.sharded || says.state == MEMBER_STATE_GONE || !says.has_state ||
        !model->is_valid || says.step != model->step || says.lineage != model->lineage)
        return;
    if (has.count != 1 && memcmp(&has, &says.slices, sizeof(has)) != 0)
        world_violation(world, "I16: worker %llu has slices %u of %u and says %u of %u",
                        (unsigned long long)worker->id, has.rank, has.count, says.slices.rank,
                        says.slices.count);
}

/* Who is alive, was not told to leave and has had no trouble lately stays in the roster. */
static void check_innocence(struct world *world, const struct coordinator_view *view,
                            struct sim_worker *worker)
{
    struct member_view member;
    if (roster_find((struct roster *)(uintptr_t)view->roster, worker->id) != NULL) {
        worker->roster_life = world->server_life;
        return;
    }
    if (worker->roster_life != world->server_life)
        return;
    worker->roster_life = 0;
    member_view(worker->member, &member);
    if (!worker->wants_to_leave && member.state != MEMBER_STATE_GONE && worker->connection != 0 &&
        world->now > worker->suspect_until && view->state != RUN_FINISHED &&
        (world->flipped_ms == 0 || world->now > world->flipped_ms + FLIPPED_MS))
        world_violation(world, "I14: worker %llu is sent away and has done nothing wrong",
                        (unsigned long long)worker->id);
}

static void check_group(struct world *world, struct sim_worker *worker)
{
    if (worker->group.generation < worker->newest_group)
        world_violation(world, "I4: worker %llu is back in generation %llu after %llu",
                        (unsigned long long)worker->id,
                        (unsigned long long)worker->group.generation,
                        (unsigned long long)worker->newest_group);
    worker->newest_group = worker->group.generation;
}

void oracle_look(struct world *world)
{
    struct coordinator_view view;
    if (world->coordinator != NULL)
        coordinator_view(world->coordinator, &view);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        struct sim_worker *worker = &world->workers[i];
        if (!worker->is_alive)
            continue;
        check_model(world, worker);
        check_slices(world, worker);
        check_group(world, worker);
        if (worker->plan_count > (uint64_t)world->config.server.plan_ahead_steps + CALM_PLANS)
            world_violation(world, "I12: %u plans wait in a loader", worker->plan_count);
        if (world->coordinator != NULL)
            check_innocence(world, &view, worker);
    }
    if (world->coordinator == NULL)
        return;
    for (uint32_t i = 0; i < world->evicted_count && i < WORLD_EVICTED_MAX; i++)
        if (roster_find((struct roster *)(uintptr_t)view.roster, world->evicted[i]) != NULL)
            world_violation(world, "worker %llu is back, but was evicted",
                            (unsigned long long)world->evicted[i]);
    if (view.roster->count > 4 * WORLD_WORKERS)
        world_violation(world, "I12: %u workers in the roster", view.roster->count);
}

/* The catalogue as a restart would read it. */
static struct stream *read_stream(struct world *world)
{
    struct stream *stream = stream_create(&(struct stream_setup){
        .seed = (uint64_t)world->config.run.seed,
        .block_records = (uint64_t)world->config.data.block_records,
        .window_blocks = (uint64_t)world->config.data.window_blocks,
        .is_repeating = 1,
    });
    for (uint32_t i = 0; i < world->journal_count; i++) {
        const struct journal_record *record = &world->journal[i];
        uint32_t id;
        enum status status = OK;
        if (record->kind == JOURNAL_SHARD)
            status = stream_add_shard(stream, record->shard.records, &id);
        else if (record->kind == JOURNAL_RETIRE)
            stream_retire_shard(stream, record->retire.shard);
        else if (record->kind == JOURNAL_ENTRY)
            status = stream_append(stream, &record->entry);
        if (status != OK)
            world_violation(world, "journal record %u: %s", i, fail_message());
    }
    return stream;
}

/* A hash over (slot, position, record) in order of slots, whoever computes them. */
uint64_t oracle_gradient(struct world *world, const struct meeting *meeting)
{
    uint64_t hash = hash_bytes_seed(&meeting->base, sizeof(meeting->base), meeting->step);
    uint32_t expected = 0;
    for (uint32_t rank = 0; rank < meeting->size; rank++) {
        const struct message_plan *plan = &meeting->plans[rank].plan;
        for (uint32_t i = 0; i < plan->slot_count; i++, expected++) {
            uint64_t position =
                meeting->step * world->batch + (uint64_t)expected * WORLD_SLOT_IMAGES;
            if (plan->slots[i].slot != expected || plan->slots[i].position != position)
                world_violation(world,
                                "I3: step %llu: slot %u at position %llu where slot %u is due",
                                (unsigned long long)meeting->step, plan->slots[i].slot,
                                (unsigned long long)plan->slots[i].position, expected);
            size_t first = (size_t)i * WORLD_SLOT_IMAGES;
            hash = hash_bytes_seed(&plan->shards[first], 4 * WORLD_SLOT_IMAGES, hash);
            hash = hash_bytes_seed(&plan->records[first], 4 * WORLD_SLOT_IMAGES, hash);
        }
    }
    if (expected != world->slots)
        world_violation(world, "I3: step %llu has %u slots of %u",
                        (unsigned long long)meeting->step, expected, world->slots);
    return hash;
}

/* What the catalogue names for a step, all slots at once. */
static void find_images(struct world *world, struct stream *stream, uint64_t step,
                        struct message_plan *plan)
{
    for (uint32_t i = 0; i < world->slots; i++)
        plan->slots[i] =
            (struct message_slot){i, step * world->batch + (uint64_t)i * WORLD_SLOT_IMAGES};
    for (uint32_t i = 0; i < world->batch; i++) {
        uint64_t position = step * world->batch + i;
        struct stream_place place = stream_find(stream, position);
        plan->shards[i] = place.shard;
        plan->records[i] = place.record;
        uint64_t retired_from = world->retired_from[place.shard];
        if (retired_from > 0 && position >= retired_from)
            world_violation(world, "I8: position %llu is of shard %u, which had retired",
                            (unsigned long long)position, place.shard);
    }
}

/* All bad ones are quarantined, nothing else is, and no slot is trained without any image. */
static void audit_quarantine(struct world *world, uint64_t step, const struct message_plan *plan)
{
    uint64_t skips = 0;
    uint32_t bad_in_slot = 0;
    for (uint32_t i = 0; i < world->batch; i++) {
        if (i % WORLD_SLOT_IMAGES == 0)
            bad_in_slot = 0;
        uint64_t broken_from = world->broken_from[plan->shards[i]];
        int is_broken = broken_from > 0 && step + 1 >= broken_from;
        if (!is_broken && !oracle_is_bad(plan->shards[i], plan->records[i]))
            continue;
        skips += hash_skip(plan->shards[i], plan->records[i], step * world->batch + i);
        if (++bad_in_slot == WORLD_SLOT_IMAGES && !world->is_skipped[step])
            world_violation(world, "I3: step %llu is committed without any image for a slot",
                            (unsigned long long)step);
    }
    if (skips != world->skips[step])
        world_violation(world, "I3: step %llu quarantines other images than the bad ones",
                        (unsigned long long)step);
}

void oracle_audit(struct world *world)
{
    struct message_slot slots[WORLD_SLOTS_MAX];
    uint32_t shards[WORLD_BATCH_MAX], records[WORLD_BATCH_MAX];
    struct stream *stream = read_stream(world);
    for (uint64_t step = 0; step < world->committed; step++) {
        struct meeting meeting = {.step = step, .size = 1, .base = world->hashes[step]};
        struct message_plan *plan = &meeting.plans[0].plan;
        *plan = (struct message_plan){
            .slot_count = world->slots, .slots = slots, .shards = shards, .records = records};
        find_images(world, stream, step, plan);
        audit_quarantine(world, step, plan);
        if (oracle_gradient(world, &meeting) != world->gradients[step])
            world_violation(world, "I3: step %llu trained on other images than the catalogue names",
                            (unsigned long long)step);
    }
    testimony_hear(world, stream);
    stream_destroy(stream);
}
