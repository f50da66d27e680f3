/* journal_record.c - copies and frees journal records. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/journal_record.h"

#include "common/mem.h"
#include "server/pass.h"

static void copy_members(const struct journal_generation *from, struct journal_generation *copy)
{
    copy->members = mem_array(from->member_count, sizeof(*copy->members));
    for (uint32_t i = 0; i < from->member_count; i++) {
        copy->members[i] = from->members[i];
        copy->members[i].name = mem_string(from->members[i].name);
    }
}

static void copy_skips(const struct journal_step *from, struct journal_step *copy)
{
    copy->skips = mem_array(from->skip_count, sizeof(*copy->skips));
    for (uint32_t i = 0; i < from->skip_count; i++) {
        copy->skips[i] = from->skips[i];
        copy->skips[i].reason = mem_string(from->skips[i].reason);
    }
}

static void copy_deal(const struct journal_deal *from, struct journal_deal *copy)
{
    copy->slots = mem_array(from->count, sizeof(*copy->slots));
    for (uint32_t i = 0; i < from->count; i++)
        copy->slots[i] = from->slots[i];
}

void journal_record_copy(const struct journal_record *from, struct journal_record *ret_copy)
{
    *ret_copy = *from;
    if (from->kind == JOURNAL_SHARD)
        ret_copy->shard.path = mem_string(from->shard.path);
    else if (from->kind == JOURNAL_ENTRY)
        stream_entry_copy(&from->entry, &ret_copy->entry);
    else if (from->kind == JOURNAL_GENERATION)
        copy_members(&from->generation, &ret_copy->generation);
    else if (from->kind == JOURNAL_STEP)
        copy_skips(&from->step, &ret_copy->step);
    else if (from->kind == JOURNAL_DEAL)
        copy_deal(&from->deal, &ret_copy->deal);
}

void journal_record_done(struct journal_record *record)
{
    if (record->kind == JOURNAL_SHARD) {
        mem_free(record->shard.path);
    } else if (record->kind == JOURNAL_ENTRY) {
        stream_entry_done(&record->entry);
    } else if (record->kind == JOURNAL_GENERATION) {
        for (uint32_t i = 0; i < record->generation.member_count; i++)
            mem_free(record->generation.members[i].name);
        mem_free(record->generation.members);
    } else if (record->kind == JOURNAL_STEP) {
        for (uint32_t i = 0; i < record->step.skip_count; i++)
            mem_free(record->step.skips[i].reason);
        mem_free(record->step.skips);
    } else if (record->kind == JOURNAL_DEAL) {
        mem_free(record->deal.slots);
    }
    *record = (struct journal_record){0};
}

int journal_record_may_lag(const struct journal_record *record)
{
    return record->kind == JOURNAL_STEP && record->step.skip_count == 0;
}

const char *journal_kind_name(enum journal_kind kind)
{
    static const char *const names[] = {
        [JOURNAL_START] = "start",
        [JOURNAL_SHARD] = "shard",
        [JOURNAL_RETIRE] = "retire",
        [JOURNAL_ENTRY] = "entry",
        [JOURNAL_GENERATION] = "generation",
        [JOURNAL_STEP] = "step",
        [JOURNAL_SNAPSHOT] = "snapshot",
        [JOURNAL_ROLLBACK] = "rollback",
        [JOURNAL_PAUSE] = "pause",
        [JOURNAL_DEAL] = "deal",
        [JOURNAL_DISCHARGE] = "discharge",
        [JOURNAL_SNAPSHOT_REMOVED] = "snapshot_removed",
        [JOURNAL_STOP] = "stop",
        [JOURNAL_POLICY] = "policy",
    };
    return kind >= JOURNAL_START && kind <= JOURNAL_KIND_LAST ? names[kind] : "unknown";
}
