/* quarantine.c - a sorted list of bad records, and their number by shard. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/quarantine.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

void quarantine_done(struct quarantine *quarantine)
{
    mem_free(quarantine->keys);
    mem_free(quarantine->shards);
    *quarantine = (struct quarantine){0};
}

/* Where the key is, or belongs. */
static uint32_t find(const struct quarantine *quarantine, uint64_t key)
{
    uint32_t low = 0, high = quarantine->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (quarantine->keys[middle] < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* 0: it is known. */
static int add_key(struct quarantine *quarantine, uint64_t key)
{
    uint32_t at = find(quarantine, key);
    if (at < quarantine->count && quarantine->keys[at] == key)
        return 0;
    if (quarantine->count == QUARANTINE_RECORDS_MAX)
        return 1;
    if (quarantine->count == quarantine->capacity) {
        quarantine->capacity = quarantine->capacity * 2 + 16;
        quarantine->keys = mem_resize(quarantine->keys, quarantine->capacity * sizeof(uint64_t));
    }
    memmove(quarantine->keys + at + 1, quarantine->keys + at,
            (quarantine->count - at) * sizeof(uint64_t));
    quarantine->keys[at] = key;
    quarantine->count++;
    return 1;
}

static struct quarantine_shard *reach(struct quarantine *quarantine, uint32_t shard)
{
    if (shard >= quarantine->shard_count) {
        uint32_t count = shard + 1 + quarantine->shard_count / 2;
        quarantine->shards = mem_resize(quarantine->shards, count * sizeof(*quarantine->shards));
        memset(quarantine->shards + quarantine->shard_count, 0,
               (count - quarantine->shard_count) * sizeof(*quarantine->shards));
        quarantine->shard_count = count;
    }
    return &quarantine->shards[shard];
}

void quarantine_note(struct quarantine *quarantine, const struct message_skip *skips,
                     uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct message_skip *skip = &skips[i];
        if (!add_key(quarantine, (uint64_t)skip->shard << 32 | skip->record))
            continue;
        struct quarantine_shard *shard = reach(quarantine, skip->shard);
        shard->records++;
        quarantine->records++;
        snprintf(shard->reason, sizeof(shard->reason), "%s",
                 skip->reason != NULL ? skip->reason : "");
    }
}

struct quarantine_shard quarantine_of(const struct quarantine *quarantine, uint32_t shard)
{
    return shard < quarantine->shard_count ? quarantine->shards[shard]
                                           : (struct quarantine_shard){0};
}
