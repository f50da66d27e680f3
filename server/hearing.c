/* hearing.c - each worker's steps one by one, then all workers' slots of each step together. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/hearing.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

enum {
    FINDINGS_MAX = 20, /* more say nothing new to a person */
    WORDS_BYTES = 256,
};

/* A worker says that it computed these slots of a step. */
struct claim {
    uint64_t verdict;    /* index */
    uint32_t first, end; /* slots */
    uint32_t worker;     /* number of the process, as heard */
};

/* A worker says that it held a state with this digest. */
struct held {
    uint64_t step, digest;
    uint32_t lineage, worker;
};

struct hearing {
    const struct stream *stream;
    const struct verdicts *verdicts;
    uint32_t slot_images;
    struct hearing_result result;
    char *findings[FINDINGS_MAX];
    int finding_count;

    uint64_t claim_count, claim_capacity, held_count, held_capacity;
    struct claim *claims;
    struct held *helds;
    char **names; /* [result.workers] */

    /* The present worker. */
    uint64_t worker;
    int has_place; /* it is known which step must come next */
    uint32_t lineage;
    uint64_t step, generation; /* generation: of the last step it did */
};

struct hearing *hearing_create(const struct stream *stream, const struct verdicts *verdicts,
                               uint32_t slot_images)
{
    struct hearing *hearing = mem_zero(sizeof(*hearing));
    hearing->stream = stream;
    hearing->verdicts = verdicts;
    hearing->slot_images = slot_images;
    return hearing;
}

void hearing_destroy(struct hearing *hearing)
{
    if (hearing == NULL)
        return;
    for (int i = 0; i < hearing->finding_count; i++)
        mem_free(hearing->findings[i]);
    for (uint64_t i = 0; i < hearing->result.workers; i++)
        mem_free(hearing->names[i]);
    mem_free(hearing->names);
    mem_free(hearing->claims);
    mem_free(hearing->helds);
    mem_free(hearing);
}

/* Counts `count` of something against it, and keeps the first words. */
static void object(struct hearing *hearing, uint64_t *counter, uint64_t count, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));

static void object(struct hearing *hearing, uint64_t *counter, uint64_t count, const char *format,
                   ...)
{
    *counter += count;
    if (count == 0 || hearing->finding_count == FINDINGS_MAX)
        return;
    char words[WORDS_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    hearing->findings[hearing->finding_count++] = mem_string(words);
}

static const char *present_name(const struct hearing *hearing)
{
    return hearing->names[hearing->result.workers - 1];
}

void hearing_begin(struct hearing *hearing, uint64_t worker, const char *name)
{
    uint64_t count = hearing->result.workers++;
    hearing->names = mem_resize(hearing->names, (count + 1) * sizeof(char *));
    hearing->names[count] = mem_format("%s (%016" PRIx64 ")", name, worker);
    hearing->worker = worker;
    hearing->has_place = 0;
}

void hearing_pass(struct hearing *hearing)
{
    hearing->has_place = 0;
}

void hearing_damage(struct hearing *hearing, const char *what)
{
    object(hearing, &hearing->result.journals_damaged, 1, "journal of %s: %s",
           present_name(hearing), what);
    hearing->has_place = 0;
}

/* ---- what one worker says ---- */

/* It went from its place to a state of step `end` in the same lineage, without these steps. */
static void miss_steps(struct hearing *hearing, uint64_t end)
{
    const struct verdict *verdict;
    for (uint64_t step = hearing->step;
         step < end && (verdict = verdicts_find(hearing->verdicts, hearing->lineage, step)) != NULL;
         step++)
        object(hearing, &hearing->result.committed_not_applied, (uint64_t)verdict->is_commit,
               "%s went past step %" PRIu64 " without applying it", present_name(hearing), step);
}

static void keep_held(struct hearing *hearing, const struct witness_state *state)
{
    if (hearing->held_count == hearing->held_capacity) {
        hearing->held_capacity = hearing->held_capacity * 2 + 64;
        hearing->helds =
            mem_resize(hearing->helds, hearing->held_capacity * sizeof(*hearing->helds));
    }
    hearing->helds[hearing->held_count++] = (struct held){
        state->step, state->digest, state->lineage, (uint32_t)(hearing->result.workers - 1)};
}

static void take_state(struct hearing *hearing, const struct witness_state *state)
{
    struct hearing_result *result = &hearing->result;
    const char *name = present_name(hearing);
    const struct verdict *next = verdicts_find(hearing->verdicts, state->lineage, state->step);
    int is_other = state->lineage != hearing->lineage || state->step < hearing->step;
    int is_lost = state->step > 0 && verdicts_may_be_lost(hearing->verdicts, state->lineage,
                                                          state->step - 1, hearing->generation);
    if (!is_lost && !verdicts_has_state(hearing->verdicts, state->lineage, state->step))
        object(hearing, &result->applied_without_commit, 1,
               "%s held a state of step %" PRIu64 " in lineage %u, which was never decided", name,
               state->step, state->lineage);
    if (hearing->has_place && state->is_own && is_other)
        object(hearing, &result->journals_damaged, 1,
               "%s was at step %" PRIu64 " of lineage %u and says that it came to step %" PRIu64
               " of lineage %u by itself",
               name, hearing->step, hearing->lineage, state->step, state->lineage);
    else if (hearing->has_place && state->is_own)
        miss_steps(hearing, state->step);
    /* A generation whose members' states differed was ended by the server before its first step:
     * that was healed, and is no finding. */
    if (next != NULL && next->generation == state->generation)
        keep_held(hearing, state);
    hearing->has_place = 1;
    hearing->lineage = state->lineage;
    hearing->step = state->step;
}

/* Does this step follow what it said before? */
static void check_place(struct hearing *hearing, const struct witness_step *step)
{
    const char *name = present_name(hearing);
    if (!hearing->has_place || (step->lineage == hearing->lineage && step->step == hearing->step))
        return;
    if (step->lineage != hearing->lineage)
        object(hearing, &hearing->result.journals_damaged, 1,
               "%s came from lineage %u to %u without a state", name, hearing->lineage,
               step->lineage);
    else if (step->step > hearing->step)
        miss_steps(hearing, step->step);
    else
        object(hearing, &hearing->result.duplicated, (uint64_t)step->slot_count * step->slot_images,
               "%s did step %" PRIu64 " a second time, after step %" PRIu64, name, step->step,
               hearing->step - 1);
}

/* Was the server's verdict what it did? */
static void check_verdict(struct hearing *hearing, const struct witness_step *step,
                          const struct verdict *verdict)
{
    struct hearing_result *result = &hearing->result;
    const char *name = present_name(hearing);
    const char *did = step->is_applied ? "applied" : "skipped";
    if ((verdict == NULL || verdict->generation != step->generation) &&
        verdicts_may_be_lost(hearing->verdicts, step->lineage, step->step, step->generation)) {
        result->lost_with_host++;
        return;
    }
    if (verdict == NULL)
        object(hearing, &result->applied_without_commit, 1,
               "%s %s step %" PRIu64 " of lineage %u, which was never decided", name, did,
               step->step, step->lineage);
    else if (verdict->generation != step->generation)
        object(hearing, &result->applied_without_commit, 1,
               "%s %s step %" PRIu64 " of generation %" PRIu64
               ", but it was decided in generation %" PRIu64,
               name, did, step->step, step->generation, verdict->generation);
    else if (!verdicts_is_member(hearing->verdicts, step->generation, hearing->worker))
        object(hearing, &result->applied_without_commit, 1,
               "%s %s step %" PRIu64 " of generation %" PRIu64 ", of which it was no member", name,
               did, step->step, step->generation);
    else if (step->is_applied && !verdict->is_commit)
        object(hearing, &result->applied_without_commit, 1,
               "%s applied step %" PRIu64 ", which was to be skipped", name, step->step);
    else if (!step->is_applied && verdict->is_commit)
        object(hearing, &result->committed_not_applied, 1,
               "%s skipped step %" PRIu64 ", which was committed", name, step->step);
    if (verdict != NULL && verdict->digest != step->digest)
        object(hearing, &result->digests_differ, 1,
               "%s had gradient %016" PRIx64 " at step %" PRIu64 ", decided was %016" PRIx64, name,
               step->digest, step->step, verdict->digest);
}

/* Image i of a slot of planned records: the next one of the slot, from its own on, that is good. */
static struct witness_image expected_image(const struct hearing *hearing,
                                           const struct verdict *verdict, uint64_t position,
                                           uint32_t i)
{
    for (uint32_t j = 0; j < hearing->slot_images; j++) {
        uint64_t at = position + (i + j) % hearing->slot_images;
        struct stream_place place = stream_find(hearing->stream, at);
        if (!verdicts_is_bad(hearing->verdicts, verdict, place.shard, place.record))
            return (struct witness_image){place.shard, place.record};
    }
    return (struct witness_image){WITNESS_NO_RECORD, WITNESS_NO_RECORD};
}

static void check_images(struct hearing *hearing, const struct witness_step *step,
                         const struct verdict *verdict, uint32_t slot)
{
    const struct witness_image *images = step->images + (size_t)slot * step->slot_images;
    for (uint32_t i = 0; i < step->slot_images; i++) {
        struct witness_image wanted =
            expected_image(hearing, verdict, step->slots[slot].position, i);
        int is_same = images[i].shard == wanted.shard && images[i].record == wanted.record;
        object(hearing, &hearing->result.records_differ, !is_same,
               "%s trained record %d of shard %d at image %u of slot %u of step %" PRIu64
               ", where record %d of shard %d belongs",
               present_name(hearing), (int)images[i].record, (int)images[i].shard, i,
               step->slots[slot].slot, step->step, (int)wanted.record, (int)wanted.shard);
    }
}

static void keep_claim(struct hearing *hearing, uint64_t verdict, uint32_t first, uint32_t end)
{
    if (hearing->claim_count == hearing->claim_capacity) {
        hearing->claim_capacity = hearing->claim_capacity * 2 + 1024;
        hearing->claims =
            mem_resize(hearing->claims, hearing->claim_capacity * sizeof(*hearing->claims));
    }
    hearing->claims[hearing->claim_count++] =
        (struct claim){verdict, first, end, (uint32_t)(hearing->result.workers - 1)};
}

/* The slots of a step that counts: are they where they must be, of the right images? Those that
 * follow each other are claimed together. */
static void check_slots(struct hearing *hearing, const struct witness_step *step,
                        const struct verdict *verdict)
{
    uint64_t index = verdicts_index(hearing->verdicts, verdict);
    uint64_t known = stream_end(hearing->stream);
    uint32_t first = 0, end = 0;
    for (uint32_t i = 0; i < step->slot_count; i++) {
        const struct witness_slot *slot = &step->slots[i];
        uint64_t offset = (uint64_t)slot->slot * hearing->slot_images;
        if (step->slot_images != hearing->slot_images || offset >= verdict->images ||
            slot->position != verdict->position + offset ||
            slot->position + hearing->slot_images > known) {
            object(hearing, &hearing->result.records_differ, step->slot_images,
                   "%s trained %u images from position %" PRIu64 " on as slot %u of step %" PRIu64
                   ", which is not the plan",
                   present_name(hearing), step->slot_images, slot->position, slot->slot,
                   step->step);
            continue;
        }
        if (verdict->is_commit)
            check_images(hearing, step, verdict, i);
        if (slot->slot != end && end > first)
            keep_claim(hearing, index, first, end);
        first = slot->slot == end ? first : slot->slot;
        end = slot->slot + 1;
    }
    keep_claim(hearing, index, first, end); /* an empty one still says that it wrote of the step */
}

static void take_step(struct hearing *hearing, const struct witness_step *step)
{
    const struct verdict *verdict = verdicts_find(hearing->verdicts, step->lineage, step->step);
    check_place(hearing, step);
    check_verdict(hearing, step, verdict);
    if (verdict != NULL && verdict->generation == step->generation &&
        verdicts_survives(hearing->verdicts, verdict))
        check_slots(hearing, step, verdict);
    hearing->has_place = 1;
    hearing->lineage = step->lineage;
    hearing->step = step->step + 1;
    hearing->generation = step->generation;
}

void hearing_take(struct hearing *hearing, const struct witness *witness)
{
    if (witness->missed > 0)
        hearing->has_place = 0;
    if (witness->kind == WITNESS_STATE)
        take_state(hearing, &witness->state);
    else if (witness->kind == WITNESS_STEP)
        take_step(hearing, &witness->step);
}

/* ---- what they say together ---- */

static int by_slot(const void *left, const void *right)
{
    const struct claim *a = left, *b = right;
    if (a->verdict != b->verdict)
        return a->verdict < b->verdict ? -1 : 1;
    if (a->first != b->first)
        return a->first < b->first ? -1 : 1;
    return (a->end > b->end) - (a->end < b->end);
}

static uint32_t count_witnesses(const struct claim *claims, uint64_t count)
{
    uint32_t witnesses = 0;
    for (uint64_t i = 0; i < count; i++) {
        int is_new = 1;
        for (uint64_t j = 0; j < i; j++)
            is_new &= claims[j].worker != claims[i].worker;
        witnesses += (uint32_t)is_new;
    }
    return witnesses;
}

/* Claims of one step, by slot: gaps and overlaps. */
static void judge_step(struct hearing *hearing, const struct claim *claims, uint64_t count)
{
    const struct verdict *verdict = verdicts_at(hearing->verdicts, claims[0].verdict);
    uint32_t members = verdicts_member_count(hearing->verdicts, verdict->generation);
    int is_complete = members > 0 && count_witnesses(claims, count) == members;
    uint32_t slots = verdict->images / hearing->slot_images, next = 0,
             images = hearing->slot_images;
    hearing->result.steps_witnessed += (uint64_t)is_complete;
    if (!verdict->is_commit)
        return;
    for (uint64_t i = 0; i < count; i++) {
        const struct claim *claim = &claims[i];
        if (claim->first == claim->end)
            continue;
        if (claim->first < next)
            object(hearing, &hearing->result.duplicated,
                   (uint64_t)images * ((claim->end < next ? claim->end : next) - claim->first),
                   "slot %u of step %" PRIu64 " was trained twice, the second time by %s",
                   claim->first, verdict->step, hearing->names[claim->worker]);
        else if (is_complete && claim->first > next)
            object(hearing, &hearing->result.lost, (uint64_t)images * (claim->first - next),
                   "slot %u of step %" PRIu64 " was trained by nobody", next, verdict->step);
        next = claim->end > next ? claim->end : next;
    }
    if (is_complete && next < slots)
        object(hearing, &hearing->result.lost, (uint64_t)images * (slots - next),
               "slot %u of step %" PRIu64 " was trained by nobody", next, verdict->step);
}

static void judge_claims(struct hearing *hearing)
{
    if (hearing->claim_count > 0)
        qsort(hearing->claims, hearing->claim_count, sizeof(*hearing->claims), by_slot);
    for (uint64_t first = 0, end = 0; first < hearing->claim_count; first = end) {
        while (end < hearing->claim_count &&
               hearing->claims[end].verdict == hearing->claims[first].verdict)
            end++;
        judge_step(hearing, hearing->claims + first, end - first);
    }
}

static int by_step(const void *left, const void *right)
{
    const struct held *a = left, *b = right;
    if (a->lineage != b->lineage)
        return a->lineage < b->lineage ? -1 : 1;
    return (a->step > b->step) - (a->step < b->step);
}

static void judge_states(struct hearing *hearing)
{
    if (hearing->held_count > 0)
        qsort(hearing->helds, hearing->held_count, sizeof(*hearing->helds), by_step);
    for (uint64_t i = 0; i < hearing->held_count; i++) {
        const struct held *held = &hearing->helds[i], *before = i > 0 ? held - 1 : held;
        const struct verdict *next = verdicts_find(hearing->verdicts, held->lineage, held->step);
        if (by_step(before, held) == 0 && before->digest != held->digest)
            object(hearing, &hearing->result.digests_differ, 1,
                   "%s and %s held different states of step %" PRIu64,
                   hearing->names[before->worker], hearing->names[held->worker], held->step);
        else if (next != NULL && next->parameter_digest != 0 &&
                 next->parameter_digest != held->digest)
            object(hearing, &hearing->result.digests_differ, 1,
                   "%s held another state of step %" PRIu64 " than the server's journal says",
                   hearing->names[held->worker], held->step);
    }
}

void hearing_end(struct hearing *hearing, struct hearing_result *ret_result)
{
    judge_claims(hearing);
    judge_states(hearing);
    *ret_result = hearing->result;
}

const char *hearing_finding(const struct hearing *hearing, int index)
{
    return index < hearing->finding_count ? hearing->findings[index] : NULL;
}
