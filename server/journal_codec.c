/* journal_codec.c - journal records as bytes, and back, through one description for both ways. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/journal_codec.h"

#include <endian.h>
#include <string.h>

#include "common/code.h"
#include "common/hash.h"
#include "common/mem.h"

enum { CHECKSUM_BYTES = 8 };

/* Of what matches its checksum and yet says more than we know: that is no damage. */
#define NEWER "a newer everseer wrote it: use that one"

static void code_name(struct codec *codec, char name[JOURNAL_NAME_BYTES])
{
    code_bytes(codec, name, JOURNAL_NAME_BYTES);
    name[JOURNAL_NAME_BYTES - 1] = 0;
}

static void code_schedule(struct codec *codec, struct schedule_state *schedule)
{
    code_u64(codec, &schedule->commits);
    for (int i = 0; i < SCHEDULE_PARTS; i++) {
        code_double(codec, &schedule->part_sums[i]);
        code_u32(codec, &schedule->part_counts[i]);
    }
    code_u64(codec, &schedule->windows);
    code_double(codec, &schedule->best);
    code_u32(codec, &schedule->bad);
    code_u32(codec, &schedule->cool);
    code_u32(codec, &schedule->cuts);
    code_bool(codec, &schedule->is_armed);
    code_double(codec, &schedule->window_mean);
    code_double(codec, &schedule->window_error);
}

static void code_start(struct codec *codec, struct journal_start *start)
{
    code_u64(codec, &start->run);
    code_u64(codec, &start->epoch);
    code_u64(codec, &start->seed);
    code_u64(codec, &start->fingerprint);
    code_u32(codec, &start->batch_images);
    code_u32(codec, &start->slot_images);
    code_u32(codec, &start->block_records);
    code_u32(codec, &start->window_blocks);
    if (codec->is_reading && codec->left == 0)
        return; /* written before boots were noted */
    code_u64(codec, &start->boot);
}

static void code_shard(struct codec *codec, struct journal_shard *shard)
{
    code_u32(codec, &shard->id);
    code_u64(codec, &shard->records);
    code_text(codec, &shard->path);
    if (codec->is_reading && codec->left == 0)
        return; /* written before hashes were noted */
    code_u64(codec, &shard->content_hash);
}

static void code_entry(struct codec *codec, struct stream_entry *entry)
{
    code_u64(codec, &entry->start);
    code_u64(codec, &entry->pass);
    code_u64(codec, &entry->first_window);
    code_numbers(codec, &entry->shard_count, &entry->shards);
    code_numbers(codec, &entry->dropped_count, &entry->dropped);
}

static void code_generation(struct codec *codec, struct journal_generation *generation)
{
    enum { MEMBER_BYTES = 12 };
    code_u64(codec, &generation->generation);
    code_u64(codec, &generation->step);
    code_count(codec, &generation->member_count, MEMBER_BYTES);
    if (codec->is_reading)
        generation->members = mem_array(generation->member_count, sizeof(*generation->members));
    for (uint32_t i = 0; i < generation->member_count; i++) {
        code_u64(codec, &generation->members[i].worker);
        code_text(codec, &generation->members[i].name);
    }
    if (codec->is_reading && codec->left == 0)
        return; /* written before processes were noted */
    for (uint32_t i = 0; i < generation->member_count; i++) {
        code_u64(codec, &generation->members[i].boot);
        code_u32(codec, &generation->members[i].pid);
    }
}

static void code_skips(struct codec *codec, struct journal_step *step)
{
    enum { SKIP_BYTES = 20 };
    code_count(codec, &step->skip_count, SKIP_BYTES);
    if (codec->is_reading)
        step->skips = mem_array(step->skip_count, sizeof(*step->skips));
    for (uint32_t i = 0; i < step->skip_count; i++) {
        code_u32(codec, &step->skips[i].shard);
        code_u32(codec, &step->skips[i].record);
        code_u64(codec, &step->skips[i].position);
        code_text(codec, &step->skips[i].reason);
    }
}

static void code_step(struct codec *codec, struct journal_step *step)
{
    code_u64(codec, &step->step);
    code_u64(codec, &step->generation);
    code_u64(codec, &step->epoch);
    code_u32(codec, &step->lineage);
    code_u32(codec, &step->attempt);
    code_u32(codec, &step->world_size);
    code_bool(codec, &step->is_commit);
    code_u64(codec, &step->position);
    code_u32(codec, &step->images);
    code_double(codec, &step->lr);
    code_double(codec, &step->loss);
    code_double(codec, &step->grad_norm);
    code_u64(codec, &step->digest);
    code_u64(codec, &step->parameter_digest);
    code_u32(codec, &step->unequal_digests);
    code_i64(codec, &step->step_ms);
    code_i64(codec, &step->data_wait_ms);
    for (int i = 0; i < PHASE_COUNT; i++)
        code_i64(codec, &step->phase_us[i]);
    code_schedule(codec, &step->schedule);
    code_skips(codec, step);
}

static void code_record(struct codec *codec, struct journal_record *record)
{
    switch (record->kind) {
    case JOURNAL_START:
        code_start(codec, &record->start);
        return;
    case JOURNAL_SHARD:
        code_shard(codec, &record->shard);
        return;
    case JOURNAL_RETIRE:
        code_u32(codec, &record->retire.shard);
        if (!codec->is_reading || codec->left > 0) /* older ones say less */
            code_bool(codec, &record->retire.is_broken);
        return;
    case JOURNAL_ENTRY:
        code_entry(codec, &record->entry);
        return;
    case JOURNAL_GENERATION:
        code_generation(codec, &record->generation);
        return;
    case JOURNAL_STEP:
        code_step(codec, &record->step);
        return;
    case JOURNAL_SNAPSHOT:
        code_u64(codec, &record->snapshot.step);
        code_u32(codec, &record->snapshot.lineage);
        code_name(codec, record->snapshot.name);
        code_schedule(codec, &record->snapshot.schedule);
        return;
    case JOURNAL_ROLLBACK:
        code_u64(codec, &record->rollback.step);
        code_u32(codec, &record->rollback.lineage);
        code_name(codec, record->rollback.snapshot);
        code_schedule(codec, &record->rollback.schedule);
        return;
    case JOURNAL_PAUSE:
        code_bool(codec, &record->pause.is_paused);
        return;
    case JOURNAL_DEAL:
        code_u64(codec, &record->deal.step);
        code_numbers(codec, &record->deal.count, &record->deal.slots);
        return;
    case JOURNAL_DISCHARGE:
        code_u64(codec, &record->discharge.worker);
        code_bool(codec, &record->discharge.is_evicted);
        code_name(codec, record->discharge.name);
        return;
    case JOURNAL_SNAPSHOT_REMOVED:
        code_name(codec, record->removed.name);
        return;
    case JOURNAL_STOP:
        code_bool(codec, &record->stop.is_stopping);
        return;
    case JOURNAL_POLICY:
        code_i64(codec, &record->policy.max_age_days);
        code_u64(codec, &record->policy.max_bytes);
        code_u32(codec, &record->policy.is_repeating);
        code_u32(codec, &record->policy.is_unlinking);
        return;
    }
    codec->status = fail(ERR_CORRUPT, "is of unknown kind %u: " NEWER, (unsigned)record->kind);
}

enum status journal_encode(const struct journal_record *record, struct buf *out)
{
    /* The walk takes a pointer that it could write through, and only reads. */
    struct journal_record borrowed = *record;
    size_t start = out->length;
    struct codec codec = {.out = out};
    uint32_t kind = record->kind;
    code_u32(&codec, &kind);
    code_record(&codec, &borrowed);
    if (codec.status == OK) {
        uint64_t checksum = hash_bytes(out->bytes + start, out->length - start);
        code_u64(&codec, &checksum);
    }
    return codec.status;
}

enum status journal_decode(const void *bytes, size_t length, struct journal_record *ret_record)
{
    if (length < CHECKSUM_BYTES + sizeof(uint32_t))
        return fail(ERR_CORRUPT, "is only %zu bytes long", length);
    uint64_t checksum = 0;
    size_t body = length - CHECKSUM_BYTES;
    memcpy(&checksum, (const uint8_t *)bytes + body, CHECKSUM_BYTES);
    if (le64toh(checksum) != hash_bytes(bytes, body))
        return fail(ERR_CORRUPT, "does not match its checksum");

    struct codec codec = {.is_reading = 1, .in = bytes, .left = body};
    struct journal_record record;
    memset(&record, 0, sizeof(record));
    uint32_t kind = 0;
    code_u32(&codec, &kind);
    record.kind = kind;
    code_record(&codec, &record);
    if (codec.status == OK && codec.left != 0)
        codec.status = fail(ERR_CORRUPT, "has %zu bytes too many: " NEWER, codec.left);
    if (codec.status == OK)
        *ret_record = record;
    else
        journal_record_done(&record);
    return codec.status;
}
