/* pass.c - blocks, windows and dropped shards of one catalogue entry. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/pass.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/random.h"

static uint32_t *copy_ids(const uint32_t *ids, uint32_t count)
{
    uint32_t *copy = mem_array(count, sizeof(*copy));
    if (count > 0)
        memcpy(copy, ids, count * sizeof(*copy));
    return copy;
}

/* First i with ends[i] > value. */
static uint64_t upper_bound(const uint64_t *ends, uint64_t count, uint64_t value)
{
    uint64_t low = 0, high = count;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (ends[middle] > value)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static uint64_t window_records(const struct pass *pass)
{
    return pass->block_records * pass->window_blocks;
}

/* Records [*ret_first, *ret_first + *ret_length) of the shards laid end to end that stand at this
 * place in the order of blocks. What is left behind the last whole block stays last. */
static void block_at(const struct pass *pass, uint64_t place, uint64_t *ret_first,
                     uint64_t *ret_length)
{
    uint64_t whole = pass->records / pass->block_records;
    uint64_t block = place;
    if (place < whole)
        block = random_permute(place, whole, pass->seed, RANDOM_STREAM_BLOCKS, pass->entry.pass);
    *ret_first = block * pass->block_records;
    uint64_t left = pass->records - *ret_first;
    *ret_length = left < pass->block_records ? left : pass->block_records;
}

/* Of the records [first, first + length) those that are not dropped: counts them, or, when they
 * are more than `skip`, finds the one after `skip` of them. */
static uint64_t count_kept(const struct pass *pass, uint64_t first, uint64_t length, uint64_t skip,
                           uint64_t *ret_found)
{
    uint64_t kept = 0, end = first + length;
    for (uint64_t i = upper_bound(pass->shard_ends, pass->entry.shard_count, first); first < end;
         i++) {
        uint64_t stop = pass->shard_ends[i] < end ? pass->shard_ends[i] : end;
        if (!pass->is_dropped[i]) {
            if (kept <= skip && skip < kept + (stop - first))
                *ret_found = first + (skip - kept);
            kept += stop - first;
        }
        first = stop;
    }
    return kept;
}

static uint64_t places_end(const struct pass *pass, uint64_t window)
{
    uint64_t places = (pass->records + pass->block_records - 1) / pass->block_records;
    uint64_t end = (window + 1) * pass->window_blocks;
    return end < places ? end : places;
}

static void count_all(struct pass *pass)
{
    uint64_t kept = 0, ignored;
    for (uint64_t window = pass->entry.first_window; window < pass->windows; window++) {
        for (uint64_t place = window * pass->window_blocks; place < places_end(pass, window);
             place++) {
            uint64_t first, length;
            block_at(pass, place, &first, &length);
            kept += count_kept(pass, first, length, UINT64_MAX, &ignored);
        }
        pass->kept_ends[window - pass->entry.first_window] = kept;
    }
}

/* Can what this pass keeps be counted from what that one does? */
static int is_basis(const struct pass *before, const struct pass *pass)
{
    const size_t count = pass->entry.shard_count;
    if (before == NULL || before->is_thin || before->entry.pass != pass->entry.pass ||
        before->entry.first_window > pass->entry.first_window ||
        before->entry.shard_count != count ||
        memcmp(before->entry.shards, pass->entry.shards, count * sizeof(uint32_t)) != 0)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (before->is_dropped[i] && !pass->is_dropped[i])
            return 0;
    return 1;
}

/* lost[window - first_window] += records of shard i there. */
static void count_lost(const struct pass *pass, uint32_t i, uint64_t *lost)
{
    const uint64_t begin = i > 0 ? pass->shard_ends[i - 1] : 0, end = pass->shard_ends[i];
    const uint64_t whole = pass->records / pass->block_records;
    for (uint64_t first = begin; first < end;) {
        const uint64_t block = first / pass->block_records;
        const uint64_t block_end = (block + 1) * pass->block_records;
        const uint64_t stop = block_end < end ? block_end : end;
        uint64_t place = block;
        if (block < whole)
            place =
                random_unpermute(block, whole, pass->seed, RANDOM_STREAM_BLOCKS, pass->entry.pass);
        if (place / pass->window_blocks >= pass->entry.first_window)
            lost[place / pass->window_blocks - pass->entry.first_window] += stop - first;
        first = stop;
    }
}

static void count_from(struct pass *pass, const struct pass *before)
{
    const uint64_t first = pass->entry.first_window, count = pass->windows - first;
    const uint64_t base = pass_window_start(before, first);
    uint64_t *lost = mem_zero((count + 1) * sizeof(*lost)), lost_so_far = 0;
    for (uint32_t i = 0; i < pass->entry.shard_count; i++)
        if (pass->is_dropped[i] && !before->is_dropped[i])
            count_lost(pass, i, lost);
    for (uint64_t i = 0; i < count; i++) {
        lost_so_far += lost[i];
        pass->kept_ends[i] = pass_window_start(before, first + i + 1) - base - lost_so_far;
    }
    mem_free(lost);
}

/* Marks which of the entry's shards are dropped. */
static void mark_dropped(struct pass *pass)
{
    const struct stream_entry *entry = &pass->entry;
    uint32_t greatest = 0;
    for (uint32_t i = 0; i < entry->shard_count; i++)
        greatest = entry->shards[i] > greatest ? entry->shards[i] : greatest;
    uint8_t *marks = mem_zero((size_t)greatest + 1);
    for (uint32_t i = 0; i < entry->dropped_count; i++)
        if (entry->dropped[i] <= greatest)
            marks[entry->dropped[i]] = 1;
    for (uint32_t i = 0; i < entry->shard_count; i++)
        pass->is_dropped[i] = marks[entry->shards[i]];
    mem_free(marks);
}

struct pass *pass_create(const struct stream_setup *setup, const struct stream_entry *entry,
                         const uint64_t *shard_records, const struct pass *before)
{
    struct pass *pass = mem_zero(sizeof(*pass));
    stream_entry_copy(entry, &pass->entry);
    pass->seed = setup->seed;
    pass->block_records = setup->block_records;
    pass->window_blocks = setup->window_blocks;
    pass->shard_ends = mem_array(entry->shard_count, sizeof(*pass->shard_ends));
    pass->is_dropped = mem_zero(entry->shard_count + 1);
    mark_dropped(pass);
    for (uint32_t i = 0; i < entry->shard_count; i++) {
        pass->records += shard_records[i];
        pass->shard_ends[i] = pass->records;
    }
    pass->windows = (pass->records + window_records(pass) - 1) / window_records(pass);
    CHECK(entry->first_window <= pass->windows);
    if (entry->dropped_count == 0)
        return pass;
    pass->kept_ends = mem_array(pass->windows - entry->first_window, sizeof(*pass->kept_ends));
    if (is_basis(before, pass))
        count_from(pass, before);
    else
        count_all(pass);
    return pass;
}

static void drop_arrays(struct pass *pass)
{
    mem_free(pass->shard_ends);
    mem_free(pass->is_dropped);
    mem_free(pass->kept_ends);
    pass->shard_ends = pass->kept_ends = NULL;
    pass->is_dropped = NULL;
}

void pass_destroy(struct pass *pass)
{
    if (pass == NULL)
        return;
    drop_arrays(pass);
    stream_entry_done(&pass->entry);
    mem_free(pass);
}

void pass_thin(struct pass *pass, uint64_t retired, uint64_t retired_end)
{
    drop_arrays(pass);
    pass->is_thin = 1;
    pass->retired = retired;
    pass->retired_end = retired_end;
}

uint64_t pass_length(const struct pass *pass)
{
    return pass_window_start(pass, pass->windows);
}

uint64_t pass_window_start(const struct pass *pass, uint64_t window)
{
    if (window == pass->entry.first_window)
        return 0;
    if (pass->kept_ends != NULL)
        return pass->kept_ends[window - pass->entry.first_window - 1];
    return pass_raw_records(pass, pass->entry.first_window, window);
}

uint64_t pass_window_from(const struct pass *pass, uint64_t index)
{
    uint64_t low = pass->entry.first_window, high = pass->windows;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (pass_window_start(pass, middle) >= index)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

uint64_t pass_raw_records(const struct pass *pass, uint64_t from, uint64_t to)
{
    uint64_t end = to * window_records(pass);
    return (end < pass->records ? end : pass->records) - from * window_records(pass);
}

/* The record that stands after `skip` kept ones in the unshuffled order of a window. */
static uint64_t find_kept(const struct pass *pass, uint64_t window, uint64_t skip)
{
    for (uint64_t place = window * pass->window_blocks;; place++) {
        uint64_t first, length, found = 0;
        CHECK(place < places_end(pass, window));
        block_at(pass, place, &first, &length);
        uint64_t kept = count_kept(pass, first, length, skip, &found);
        if (skip < kept)
            return found;
        skip -= kept;
    }
}

static uint64_t find_plain(const struct pass *pass, uint64_t window, uint64_t offset)
{
    uint64_t first, length;
    block_at(pass, window * pass->window_blocks + offset / pass->block_records, &first, &length);
    return first + offset % pass->block_records;
}

struct stream_place pass_find(const struct pass *pass, uint64_t index)
{
    uint64_t base = pass->entry.first_window, window;
    if (pass->kept_ends != NULL)
        window = base + upper_bound(pass->kept_ends, pass->windows - base, index);
    else
        window = base + index / window_records(pass);
    CHECK(window < pass->windows);
    uint64_t start = pass_window_start(pass, window);
    uint64_t size = pass_window_start(pass, window + 1) - start;
    uint64_t offset = random_permute(index - start, size, pass->seed, RANDOM_STREAM_WINDOW,
                                     pass->entry.pass << 32 | window);
    uint64_t record = pass->kept_ends != NULL ? find_kept(pass, window, offset)
                                              : find_plain(pass, window, offset);
    uint64_t i = upper_bound(pass->shard_ends, pass->entry.shard_count, record);
    return (struct stream_place){
        .shard = pass->entry.shards[i],
        .record = (uint32_t)(record - (i > 0 ? pass->shard_ends[i - 1] : 0)),
        .pass = pass->entry.pass,
    };
}

void stream_entry_copy(const struct stream_entry *from, struct stream_entry *ret_copy)
{
    *ret_copy = *from;
    ret_copy->shards = copy_ids(from->shards, from->shard_count);
    ret_copy->dropped = copy_ids(from->dropped, from->dropped_count);
}

void stream_entry_done(struct stream_entry *entry)
{
    mem_free(entry->shards);
    mem_free(entry->dropped);
    *entry = (struct stream_entry){0};
}
