/* oracle.c - the promises, checked against the whole world after every event. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/world.h"

#include <string.h>

#include "common/hash.h"
#include "server/stream.h"

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

static void check_step(struct world *world, const struct journal_step *step)
{
    if (step->step != world->committed)
        world_violation(world, "I6: step %llu is journaled where step %llu must follow",
                        (unsigned long long)step->step, (unsigned long long)world->committed);
    if (step->position != step->step * world->batch || step->images != world->batch)
        world_violation(world, "I3: step %llu takes positions from %llu",
                        (unsigned long long)step->step, (unsigned long long)step->position);
    if (step->generation != world->generation || step->epoch != world->epoch ||
        step->lineage != world->lineage)
        world_violation(world, "I10: the verdict of step %llu belongs to another generation",
                        (unsigned long long)step->step);
    world->gradients[step->step] = step->digest;
    world->hashes[step->step + 1] = oracle_apply(world->hashes[step->step], step->step,
                                                 step->is_commit, step->digest, step->lr);
    world->committed++;
    world->commits++;
}

static void check_rollback(struct world *world, const struct journal_rollback *rollback)
{
    if (rollback->step > world->committed || rollback->lineage != world->lineage + 1)
        world_violation(world, "rollback to step %llu, lineage %u",
                        (unsigned long long)rollback->step, rollback->lineage);
    for (int i = 0; i < WORLD_WORKERS && world->is_calm; i++) {
        const struct model *model = &world->workers[i].model;
        struct member_view view;
        if (!world->workers[i].is_alive)
            continue;
        member_view(world->workers[i].member, &view);
        if (view.state != MEMBER_STATE_GONE && view.has_state && model->is_valid &&
            model->lineage == world->lineage && model->step == world->committed)
            world_violation(world, "the state of step %llu is given up while worker %llu has it",
                            (unsigned long long)world->committed,
                            (unsigned long long)world->workers[i].id);
    }
    world->committed = rollback->step;
    world->lineage = rollback->lineage;
    world->rollbacks++;
}

void oracle_journal(struct world *world, const struct journal_record *record)
{
    if (record->kind == JOURNAL_START) {
        if (record->start.epoch <= world->epoch)
            world_violation(world, "I7: epoch %llu after epoch %llu",
                            (unsigned long long)record->start.epoch,
                            (unsigned long long)world->epoch);
        world->epoch = record->start.epoch;
    } else if (record->kind == JOURNAL_GENERATION) {
        if (record->generation.member_count > 0 &&
            record->generation.generation <= world->generation)
            world_violation(world, "I4: generation %llu again",
                            (unsigned long long)record->generation.generation);
        if (record->generation.step != world->committed)
            world_violation(world, "I5: a generation begins at step %llu of %llu",
                            (unsigned long long)record->generation.step,
                            (unsigned long long)world->committed);
        world->generation = record->generation.generation;
    } else if (record->kind == JOURNAL_STEP) {
        check_step(world, &record->step);
    } else if (record->kind == JOURNAL_ROLLBACK) {
        check_rollback(world, &record->rollback);
    } else if (record->kind == JOURNAL_DISCHARGE && record->discharge.is_evicted) {
        world->evicted[world->evicted_count++ % WORLD_EVICTED_MAX] = record->discharge.worker;
    } else if (record->kind == JOURNAL_DEAL) {
        world->deals++;
    }
}

/* I1, I2: who holds a state of this history holds exactly what the journal says. */
static void check_model(struct world *world, const struct sim_worker *worker)
{
    const struct model *model = &worker->model;
    if (!model->is_valid || model->lineage != world->lineage)
        return;
    if (model->step > world->committed)
        world_violation(world, "I1: worker %llu has applied step %llu, committed are %llu",
                        (unsigned long long)worker->id, (unsigned long long)model->step - 1,
                        (unsigned long long)world->committed);
    if (model->hash != world->hashes[model->step])
        world_violation(world, "I2: worker %llu holds another state of step %llu",
                        (unsigned long long)worker->id, (unsigned long long)model->step);
}

void oracle_look(struct world *world)
{
    for (int i = 0; i < WORLD_WORKERS; i++)
        if (world->workers[i].is_alive)
            check_model(world, &world->workers[i]);
    if (world->coordinator == NULL)
        return;
    struct coordinator_view view;
    coordinator_view(world->coordinator, &view);
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

void oracle_audit(struct world *world)
{
    struct stream *stream = read_stream(world);
    for (uint64_t step = 0; step < world->committed; step++) {
        struct message_slot slots[WORLD_SLOTS_MAX];
        uint32_t shards[WORLD_BATCH_MAX], records[WORLD_BATCH_MAX];
        for (uint32_t i = 0; i < world->slots; i++)
            slots[i] =
                (struct message_slot){i, step * world->batch + (uint64_t)i * WORLD_SLOT_IMAGES};
        for (uint32_t i = 0; i < world->batch; i++) {
            struct stream_place place = stream_find(stream, step * world->batch + i);
            shards[i] = place.shard;
            records[i] = place.record;
        }
        struct meeting meeting = {.step = step, .size = 1, .base = world->hashes[step]};
        meeting.plans[0].plan = (struct message_plan){
            .slot_count = world->slots, .slots = slots, .shards = shards, .records = records};
        if (oracle_gradient(world, &meeting) != world->gradients[step])
            world_violation(world, "I3: step %llu trained on other images than the catalogue names",
                            (unsigned long long)step);
    }
    stream_destroy(stream);
}
