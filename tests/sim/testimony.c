/* testimony.c - what each worker process writes down, and the audit of all of it at the end. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/world.h"

#include <string.h>

#include "common/mem.h"
#include "server/hearing.h"

/* The journal of one process. */
struct diary {
    uint64_t worker;
    struct witness pending; /* of the step that is computed and not decided yet */
    uint32_t lineage;
    uint64_t step; /* that its records so far lead to */
    uint32_t count, capacity;
    struct witness *records;
};

struct testimony {
    uint64_t count, capacity;
    struct diary *diaries; /* [worker's id - 1]: ids count from 1 */
};

struct testimony *testimony_create(void)
{
    return mem_zero(sizeof(struct testimony));
}

void testimony_destroy(struct testimony *testimony)
{
    if (testimony == NULL)
        return;
    for (uint64_t i = 0; i < testimony->count; i++) {
        struct diary *diary = &testimony->diaries[i];
        for (uint32_t j = 0; j < diary->count; j++)
            witness_done(&diary->records[j]);
        witness_done(&diary->pending);
        mem_free(diary->records);
    }
    mem_free(testimony->diaries);
    mem_free(testimony);
}

static struct diary *diary_of(struct world *world, const struct sim_worker *worker)
{
    struct testimony *testimony = world->testimony;
    if (worker->id > testimony->capacity) {
        testimony->capacity = 2 * worker->id + 16;
        testimony->diaries =
            mem_resize(testimony->diaries, testimony->capacity * sizeof(struct diary));
    }
    for (; testimony->count < worker->id; testimony->count++)
        testimony->diaries[testimony->count] = (struct diary){.worker = testimony->count + 1};
    return &testimony->diaries[worker->id - 1];
}

/* Takes what the record points to. */
static void write_down(struct diary *diary, const struct witness *witness)
{
    if (diary->count == diary->capacity) {
        diary->capacity = diary->capacity * 2 + 16;
        diary->records = mem_resize(diary->records, diary->capacity * sizeof(*diary->records));
    }
    diary->records[diary->count++] = *witness;
}

void testimony_state(struct world *world, const struct sim_worker *worker)
{
    const struct model *model = &worker->model;
    if (world->testimony == NULL)
        return;
    struct diary *diary = diary_of(world, worker);
    const struct witness witness = {.kind = WITNESS_STATE,
                                    .state = {.generation = worker->group.generation,
                                              .step = model->step,
                                              .lineage = model->lineage,
                                              .is_own = diary->count > 0 &&
                                                        diary->lineage == model->lineage &&
                                                        diary->step == model->step,
                                              .digest = model->hash}};
    diary->lineage = model->lineage;
    diary->step = model->step;
    write_down(diary, &witness);
}

/* The planned record of an image, or the next one of its slot that can be decoded. */
static struct witness_image image_of(const struct world *world, const struct sim_worker *worker,
                                     const struct message_plan *plan, uint64_t known_shards,
                                     uint32_t slot, uint32_t i)
{
    for (uint32_t j = 0; j < WORLD_SLOT_IMAGES; j++) {
        uint32_t at = slot * WORLD_SLOT_IMAGES + (i + j) % WORLD_SLOT_IMAGES;
        if (!mounts_is_bad(world, worker, known_shards, plan->shards[at], plan->records[at]))
            return (struct witness_image){plan->shards[at], plan->records[at]};
    }
    return (struct witness_image){WITNESS_NO_RECORD, WITNESS_NO_RECORD};
}

void testimony_remember(struct world *world, const struct sim_worker *worker,
                        const struct message *message, uint64_t known_shards, uint64_t digest)
{
    if (world->testimony == NULL || message == NULL)
        return; /* NULL: flushed meanwhile, it will not be voted on */
    const struct message_plan *plan = &message->plan;
    struct diary *diary = diary_of(world, worker);
    witness_done(&diary->pending);
    diary->pending.kind = WITNESS_STEP;
    struct witness_step *step = &diary->pending.step;
    *step = (struct witness_step){.generation = worker->group.generation,
                                  .step = message->header.step,
                                  .lineage = worker->model.lineage,
                                  .digest = digest,
                                  .slot_count = plan->slot_count,
                                  .slot_images = WORLD_SLOT_IMAGES,
                                  .slots = mem_array(plan->slot_count, sizeof(struct witness_slot)),
                                  .images =
                                      mem_array(plan->record_count, sizeof(struct witness_image))};
    for (uint32_t slot = 0; slot < plan->slot_count; slot++) {
        step->slots[slot] =
            (struct witness_slot){plan->slots[slot].slot, plan->slots[slot].position};
        for (uint32_t i = 0; i < WORLD_SLOT_IMAGES; i++)
            step->images[slot * WORLD_SLOT_IMAGES + i] =
                image_of(world, worker, plan, known_shards, slot, i);
    }
}

void testimony_step(struct world *world, const struct sim_worker *worker, int is_applied)
{
    if (world->testimony == NULL)
        return;
    struct diary *diary = diary_of(world, worker);
    if (diary->pending.kind != WITNESS_STEP || diary->pending.step.step + 1 != worker->model.step)
        world_violation(world, "worker %llu is told the verdict of a step that it did not compute",
                        (unsigned long long)worker->id);
    diary->pending.step.is_applied = is_applied;
    diary->step = worker->model.step;
    write_down(diary, &diary->pending);
    diary->pending = (struct witness){0};
}

static struct verdicts *read_verdicts(struct world *world)
{
    struct verdicts *verdicts = verdicts_create();
    for (uint32_t i = 0; i < world->journal_count; i++)
        if (verdicts_add(verdicts, &world->journal[i]) != OK)
            world_violation(world, "journal record %u: %s", i, fail_message());
    return verdicts;
}

void testimony_hear(struct world *world, const struct stream *stream)
{
    struct hearing_result result;
    if (world->testimony == NULL)
        return;
    struct verdicts *verdicts = read_verdicts(world);
    struct hearing *hearing = hearing_create(stream, verdicts, WORLD_SLOT_IMAGES);
    for (uint64_t i = 0; i < world->testimony->count; i++) {
        const struct diary *diary = &world->testimony->diaries[i];
        if (diary->count > 0)
            hearing_begin(hearing, diary->worker, "worker");
        for (uint32_t j = 0; j < diary->count; j++)
            hearing_take(hearing, &diary->records[j]);
    }
    hearing_end(hearing, &result);
    const char *finding = hearing_finding(hearing, 0);
    if (finding != NULL)
        world_violation(world, "the audit finds: %s", finding);
    if (world->commits > 0 && result.workers == 0)
        world_violation(world, "the audit hears nobody");
    world->witnessed += result.steps_witnessed;
    hearing_destroy(hearing);
    verdicts_destroy(verdicts);
}
