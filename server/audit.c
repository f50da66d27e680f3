/* audit.c - recounts a run from its journal. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/audit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "server/stream.h"

/* One surviving step. */
struct counted_step {
    uint64_t position;
    uint32_t images, skips;
    int is_commit;
};

/* Which records of a shard came up in a pass: one bit each. */
struct seen {
    uint64_t pass;
    uint32_t shard;
    uint8_t *bits;
};

struct audit {
    struct stream *stream; /* NULL before the first START */
    struct verdicts *verdicts;
    struct hearing *hearing; /* NULL: no worker is heard */
    uint64_t run;
    uint32_t slot_images;
    uint64_t step_count, step_capacity;
    struct counted_step *steps;
    size_t seen_count, seen_capacity;
    struct seen *seen; /* sorted by pass, shard */
    struct audit_result result;
};

struct audit *audit_create(void)
{
    struct audit *audit = mem_zero(sizeof(*audit));
    audit->result.lineages = 1;
    audit->verdicts = verdicts_create();
    return audit;
}

void audit_destroy(struct audit *audit)
{
    if (audit == NULL)
        return;
    for (size_t i = 0; i < audit->seen_count; i++)
        mem_free(audit->seen[i].bits);
    mem_free(audit->seen);
    mem_free(audit->steps);
    hearing_destroy(audit->hearing);
    verdicts_destroy(audit->verdicts);
    stream_destroy(audit->stream);
    mem_free(audit);
}

static enum status add_start(struct audit *audit, const struct journal_start *start)
{
    if (start->slot_images == 0)
        return fail(ERR_CORRUPT, "a run with slots of no images");
    if (audit->stream != NULL)
        return OK; /* later epochs cannot change what positions mean */
    audit->run = start->run;
    audit->slot_images = start->slot_images;
    audit->stream = stream_create(&(struct stream_setup){
        .seed = start->seed,
        .block_records = start->block_records,
        .window_blocks = start->window_blocks,
    });
    return OK;
}

static enum status add_shard(struct audit *audit, const struct journal_shard *shard)
{
    uint32_t id;
    TRY(stream_add_shard(audit->stream, shard->records, &id));
    if (id != shard->id)
        return fail(ERR_CORRUPT, "shard %u follows %u others", shard->id, id);
    return OK;
}

static enum status add_retire(struct audit *audit, const struct journal_retire *retire)
{
    if (retire->shard >= stream_shard_count(audit->stream))
        return fail(ERR_CORRUPT, "unknown shard %u retires", retire->shard);
    stream_retire_shard(audit->stream, retire->shard);
    return OK;
}

static void add_step(struct audit *audit, const struct journal_step *step)
{
    if (audit->step_count == audit->step_capacity) {
        audit->step_capacity = audit->step_capacity * 2 + 1024;
        audit->steps = mem_resize(audit->steps, audit->step_capacity * sizeof(*audit->steps));
    }
    audit->steps[audit->step_count++] =
        (struct counted_step){step->position, step->images, step->skip_count, step->is_commit};
    audit->result.unequal_digests += step->unequal_digests;
}

static enum status add_rollback(struct audit *audit, const struct journal_rollback *rollback)
{
    if (rollback->step > audit->step_count)
        return fail(ERR_CORRUPT, "rolls back to step %" PRIu64 " of %" PRIu64, rollback->step,
                    audit->step_count);
    audit->result.voided_steps += audit->step_count - rollback->step;
    audit->result.lineages++;
    audit->step_count = rollback->step;
    return OK;
}

enum status audit_add(struct audit *audit, const struct journal_record *record)
{
    if (audit->stream == NULL && record->kind != JOURNAL_START)
        return fail(ERR_CORRUPT, "begins with '%s' instead of a start",
                    journal_kind_name(record->kind));
    TRY(verdicts_add(audit->verdicts, record));
    switch (record->kind) {
    case JOURNAL_START:
        return add_start(audit, &record->start);
    case JOURNAL_SHARD:
        return add_shard(audit, &record->shard);
    case JOURNAL_RETIRE:
        return add_retire(audit, &record->retire);
    case JOURNAL_ENTRY:
        return stream_append(audit->stream, &record->entry);
    case JOURNAL_STEP:
        add_step(audit, &record->step);
        return OK;
    case JOURNAL_ROLLBACK:
        return add_rollback(audit, &record->rollback);
    case JOURNAL_GENERATION:
    case JOURNAL_SNAPSHOT:
    case JOURNAL_PAUSE:
    case JOURNAL_DEAL:
    case JOURNAL_DISCHARGE:
    case JOURNAL_SNAPSHOT_REMOVED:
    case JOURNAL_STOP:
    case JOURNAL_POLICY:
        return OK;
    }
    return fail(ERR_CORRUPT, "is of unknown kind %d", (int)record->kind);
}

static int by_position(const void *left, const void *right)
{
    const struct counted_step *a = left, *b = right;
    return (a->position > b->position) - (a->position < b->position);
}

/* Gaps and overlaps of the steps' ranges. */
static uint64_t count_positions(struct audit *audit, struct audit_result *result)
{
    uint64_t end = 0;
    if (audit->step_count > 0)
        qsort(audit->steps, audit->step_count, sizeof(*audit->steps), by_position);
    for (uint64_t i = 0; i < audit->step_count; i++) {
        const struct counted_step *step = &audit->steps[i];
        uint64_t step_end = step->position + step->images;
        if (step->position > end)
            result->lost += step->position - end;
        else
            result->duplicated += (end < step_end ? end : step_end) - step->position;
        end = step_end > end ? step_end : end;
        result->positions_quarantined += step->is_commit ? step->skips : 0;
        if (step->is_commit)
            result->positions_trained += step->images - step->skips;
        else
            result->positions_passed_over += step->images;
    }
    return end;
}

/* Index of the first one not before (pass, shard). */
static size_t seen_index(const struct audit *audit, uint64_t pass, uint32_t shard)
{
    size_t low = 0, high = audit->seen_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        const struct seen *at = &audit->seen[middle];
        if (at->pass < pass || (at->pass == pass && at->shard < shard))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct seen *seen_of(struct audit *audit, uint64_t pass, uint32_t shard)
{
    if (audit->seen_count == audit->seen_capacity) {
        audit->seen_capacity = audit->seen_capacity * 2 + 64;
        audit->seen = mem_resize(audit->seen, audit->seen_capacity * sizeof(*audit->seen));
    }
    size_t i = seen_index(audit, pass, shard);
    struct seen *found = &audit->seen[i];
    if (i < audit->seen_count && found->pass == pass && found->shard == shard)
        return found;
    memmove(found + 1, found, (audit->seen_count++ - i) * sizeof(*found));
    uint64_t records = stream_shard_records(audit->stream, shard);
    *found = (struct seen){pass, shard, mem_zero(records / 8 + 1)};
    return found;
}

/* Every record that a surviving step had, by pass. */
static void count_records(struct audit *audit, struct audit_result *result)
{
    uint64_t known = stream_end(audit->stream);
    for (uint64_t i = 0; i < audit->step_count; i++) {
        const struct counted_step *step = &audit->steps[i];
        for (uint64_t at = step->position; at < step->position + step->images; at++) {
            if (at >= known) {
                result->lost++; /* a step of images that the catalogue does not have */
                continue;
            }
            struct stream_place place = stream_find(audit->stream, at);
            uint8_t *byte = &seen_of(audit, place.pass, place.shard)->bits[place.record / 8];
            uint8_t bit = (uint8_t)(1U << (place.record % 8));
            result->duplicated += (*byte & bit) != 0;
            *byte |= bit;
        }
    }
}

uint64_t audit_run_id(const struct audit *audit)
{
    return audit->run;
}

struct hearing *audit_hearing(struct audit *audit)
{
    if (audit->hearing == NULL)
        audit->hearing = hearing_create(audit->stream, audit->verdicts, audit->slot_images);
    return audit->hearing;
}

void audit_count(struct audit *audit, struct audit_result *ret_result)
{
    struct audit_result result = audit->result;
    result.steps = audit->step_count;
    uint64_t end = count_positions(audit, &result);
    if (audit->stream != NULL) {
        count_records(audit, &result);
        result.positions_retired = stream_retired_records(audit->stream, end);
    }
    if (audit->hearing != NULL)
        hearing_end(audit->hearing, &result.heard);
    result.lost += result.heard.lost;
    result.duplicated += result.heard.duplicated;
    *ret_result = result;
}
