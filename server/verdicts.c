/* verdicts.c - arrays in the order of the journal. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/verdicts.h"

#include <inttypes.h>
#include <string.h>

#include "common/mem.h"

/* A run of consecutive verdicts. */
struct lineage {
    uint32_t number;
    uint64_t first_step, first; /* first: index of the verdict of first_step */
    uint64_t end;               /* steps from here on were voided */
};

struct bad_record {
    uint32_t shard, record;
};

struct generation {
    uint64_t number, first; /* first: index of its first member */
    uint32_t count;
};

/* A server's host fell, as is seen when the next one starts: this is what it was at. */
struct fall {
    uint32_t lineage;
    uint64_t step, generation;
};

struct verdicts {
    uint64_t count, capacity;
    struct verdict *items;
    size_t lineage_count;
    struct lineage *lineages; /* rising numbers */
    uint64_t bad_count, bad_capacity;
    struct bad_record *bad;
    uint64_t generation_count, generation_capacity;
    struct generation *generations; /* rising numbers */
    uint64_t member_count, member_capacity;
    uint64_t *members;
    uint64_t boot;       /* of the last server's host; 0 = unknown */
    uint64_t generation; /* that may be at work; 0 = none */
    size_t fall_count;
    struct fall *falls;
};

static void add_lineage(struct verdicts *v, uint32_t number, uint64_t first_step)
{
    v->lineages = mem_resize(v->lineages, (v->lineage_count + 1) * sizeof(*v->lineages));
    v->lineages[v->lineage_count++] = (struct lineage){number, first_step, v->count, UINT64_MAX};
}

struct verdicts *verdicts_create(void)
{
    struct verdicts *v = mem_zero(sizeof(*v));
    add_lineage(v, 0, 0);
    return v;
}

void verdicts_destroy(struct verdicts *v)
{
    if (v == NULL)
        return;
    mem_free(v->items);
    mem_free(v->lineages);
    mem_free(v->bad);
    mem_free(v->generations);
    mem_free(v->members);
    mem_free(v->falls);
    mem_free(v);
}

/* Makes room for `more` elements of `size` bytes behind `count`. */
static void *grow(void *items, uint64_t count, uint64_t more, uint64_t *capacity, size_t size)
{
    if (count + more <= *capacity)
        return items;
    *capacity = (count + more) * 2 + 64;
    return mem_resize(items, *capacity * size);
}

/* The step that must follow. */
static uint64_t next_step(const struct verdicts *v)
{
    const struct lineage *lineage = &v->lineages[v->lineage_count - 1];
    return lineage->first_step + v->count - lineage->first;
}

static void add_start(struct verdicts *v, const struct journal_start *start)
{
    if (v->boot != 0 && start->boot != v->boot && v->generation != 0) {
        v->falls = mem_resize(v->falls, (v->fall_count + 1) * sizeof(*v->falls));
        v->falls[v->fall_count++] =
            (struct fall){v->lineages[v->lineage_count - 1].number, next_step(v), v->generation};
    }
    v->boot = start->boot;
}

static enum status add_step(struct verdicts *v, const struct journal_step *step)
{
    const struct lineage *lineage = &v->lineages[v->lineage_count - 1];
    uint64_t expected = next_step(v);
    if (step->lineage != lineage->number || step->step != expected)
        return fail(ERR_CORRUPT,
                    "step %" PRIu64 " of lineage %u where step %" PRIu64
                    " of lineage %u must follow",
                    step->step, step->lineage, expected, lineage->number);
    v->items = grow(v->items, v->count, 1, &v->capacity, sizeof(*v->items));
    v->items[v->count++] = (struct verdict){.step = step->step,
                                            .generation = step->generation,
                                            .position = step->position,
                                            .digest = step->digest,
                                            .parameter_digest = step->parameter_digest,
                                            .first_skip = v->bad_count,
                                            .skip_count = step->skip_count,
                                            .lineage = step->lineage,
                                            .images = step->images,
                                            .is_commit = step->is_commit};
    v->bad = grow(v->bad, v->bad_count, step->skip_count, &v->bad_capacity, sizeof(*v->bad));
    for (uint32_t i = 0; i < step->skip_count; i++)
        v->bad[v->bad_count++] = (struct bad_record){step->skips[i].shard, step->skips[i].record};
    return OK;
}

static enum status add_rollback(struct verdicts *v, const struct journal_rollback *rollback)
{
    if (rollback->lineage <= v->lineages[v->lineage_count - 1].number)
        return fail(ERR_CORRUPT, "lineage %u follows lineage %u", rollback->lineage,
                    v->lineages[v->lineage_count - 1].number);
    for (size_t i = 0; i < v->lineage_count; i++)
        if (v->lineages[i].end > rollback->step)
            v->lineages[i].end = rollback->step;
    add_lineage(v, rollback->lineage, rollback->step);
    return OK;
}

/* One that is written again, as its end is, changes nothing. */
static enum status add_generation(struct verdicts *v, const struct journal_generation *generation)
{
    /* 1 more than the newest, so that 0 is none */
    uint64_t next =
        v->generation_count > 0 ? v->generations[v->generation_count - 1].number + 1 : 0;
    v->generation = generation->member_count > 0 ? generation->generation : 0;
    if (generation->member_count == 0 || generation->generation + 1 == next)
        return OK;
    if (generation->generation < next)
        return fail(ERR_CORRUPT, "generation %" PRIu64 " follows generation %" PRIu64,
                    generation->generation, next - 1);
    v->generations = grow(v->generations, v->generation_count, 1, &v->generation_capacity,
                          sizeof(*v->generations));
    v->generations[v->generation_count++] =
        (struct generation){generation->generation, v->member_count, generation->member_count};
    v->members = grow(v->members, v->member_count, generation->member_count, &v->member_capacity,
                      sizeof(*v->members));
    for (uint32_t i = 0; i < generation->member_count; i++)
        v->members[v->member_count++] = generation->members[i].worker;
    return OK;
}

enum status verdicts_add(struct verdicts *v, const struct journal_record *record)
{
    if (record->kind == JOURNAL_START)
        add_start(v, &record->start);
    if (record->kind == JOURNAL_STEP)
        return add_step(v, &record->step);
    if (record->kind == JOURNAL_ROLLBACK)
        return add_rollback(v, &record->rollback);
    if (record->kind == JOURNAL_GENERATION)
        return add_generation(v, &record->generation);
    return OK;
}

uint64_t verdicts_count(const struct verdicts *v)
{
    return v->count;
}

const struct verdict *verdicts_at(const struct verdicts *v, uint64_t index)
{
    return &v->items[index];
}

/* Rising numbers, and few. NULL: unknown. ret_end: index behind its last verdict. */
static const struct lineage *find_lineage(const struct verdicts *v, uint32_t number,
                                          uint64_t *ret_end)
{
    for (size_t i = 0; i < v->lineage_count; i++)
        if (v->lineages[i].number == number) {
            *ret_end = i + 1 < v->lineage_count ? v->lineages[i + 1].first : v->count;
            return &v->lineages[i];
        }
    return NULL;
}

const struct verdict *verdicts_find(const struct verdicts *v, uint32_t number, uint64_t step)
{
    uint64_t end = 0;
    const struct lineage *lineage = find_lineage(v, number, &end);
    if (lineage == NULL || step < lineage->first_step ||
        step - lineage->first_step >= end - lineage->first)
        return NULL;
    return &v->items[lineage->first + step - lineage->first_step];
}

uint64_t verdicts_index(const struct verdicts *v, const struct verdict *verdict)
{
    return (uint64_t)(verdict - v->items);
}

int verdicts_has_state(const struct verdicts *v, uint32_t number, uint64_t step)
{
    uint64_t end = 0;
    const struct lineage *lineage = find_lineage(v, number, &end);
    return lineage != NULL && step >= lineage->first_step &&
           step - lineage->first_step <= end - lineage->first;
}

int verdicts_may_be_lost(const struct verdicts *v, uint32_t lineage, uint64_t step,
                         uint64_t generation)
{
    for (size_t i = 0; i < v->fall_count; i++)
        if (v->falls[i].lineage == lineage && v->falls[i].step == step &&
            v->falls[i].generation == generation)
            return 1;
    return 0;
}

int verdicts_survives(const struct verdicts *v, const struct verdict *verdict)
{
    uint64_t end = 0;
    const struct lineage *lineage = find_lineage(v, verdict->lineage, &end);
    return lineage != NULL && verdict->step < lineage->end;
}

int verdicts_is_bad(const struct verdicts *v, const struct verdict *verdict, uint32_t shard,
                    uint32_t record)
{
    for (uint32_t i = 0; i < verdict->skip_count; i++) {
        const struct bad_record *bad = &v->bad[verdict->first_skip + i];
        if (bad->shard == shard && bad->record == record)
            return 1;
    }
    return 0;
}

static const struct generation *find_generation(const struct verdicts *v, uint64_t number)
{
    size_t low = 0, high = v->generation_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (v->generations[middle].number == number)
            return &v->generations[middle];
        if (v->generations[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

uint32_t verdicts_member_count(const struct verdicts *v, uint64_t number)
{
    const struct generation *generation = find_generation(v, number);
    return generation != NULL ? generation->count : 0;
}

int verdicts_is_member(const struct verdicts *v, uint64_t number, uint64_t worker)
{
    const struct generation *generation = find_generation(v, number);
    for (uint32_t i = 0; generation != NULL && i < generation->count; i++)
        if (v->members[generation->first + i] == worker)
            return 1;
    return 0;
}
