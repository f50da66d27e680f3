/* hash_set.c - open addressing; the hash is its own hash. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/hash_set.h"

#include <stdint.h>
#include <string.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/mem.h"
#include "loader/store.h"

enum { CAPACITY_FIRST = 1024, HASHES_BYTES_MAX = 1 << 30 };

void hash_set_init(struct hash_set *set)
{
    *set = (struct hash_set){0};
}

void hash_set_done(struct hash_set *set)
{
    mem_free(set->slots);
    *set = (struct hash_set){0};
}

static int is_free(const struct hash128 *slot)
{
    return slot->low == 0 && slot->high == 0;
}

static struct hash128 *find_slot(struct hash128 *slots, size_t capacity, struct hash128 hash)
{
    size_t at = (size_t)hash.low & (capacity - 1);
    while (!is_free(&slots[at]) && (slots[at].low != hash.low || slots[at].high != hash.high))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static void grow(struct hash_set *set)
{
    size_t capacity = set->capacity == 0 ? CAPACITY_FIRST : set->capacity * 2;
    struct hash128 *slots = mem_array(capacity, sizeof(*slots));
    for (size_t i = 0; i < set->capacity; i++) {
        if (!is_free(&set->slots[i]))
            *find_slot(slots, capacity, set->slots[i]) = set->slots[i];
    }
    mem_free(set->slots);
    set->slots = slots;
    set->capacity = capacity;
}

int hash_set_add(struct hash_set *set, struct hash128 hash)
{
    if (is_free(&hash))
        hash.high = 1; /* the one value that would look free */
    if (set->count * 2 >= set->capacity)
        grow(set);
    struct hash128 *slot = find_slot(set->slots, set->capacity, hash);
    if (!is_free(slot))
        return 0;
    *slot = hash;
    set->count++;
    return 1;
}

int hash_set_has(const struct hash_set *set, struct hash128 hash)
{
    if (is_free(&hash))
        hash.high = 1;
    return set->capacity > 0 && !is_free(find_slot(set->slots, set->capacity, hash));
}

static enum status add_shard(struct hash_set *set, const struct store_shard *shard)
{
    struct buf hashes;
    buf_init(&hashes, HASHES_BYTES_MAX);
    char *path = mem_format("%s/hashes.bin", shard->path);
    enum status status = fs_exists(path) ? fs_read_file(path, &hashes) : OK;
    if (status == OK && hashes.length % sizeof(struct hash128) != 0)
        status = fail(ERR_CORRUPT, "'%s' is cut off: remove its shard and ingest its images again",
                      path);
    for (size_t at = 0; status == OK && at < hashes.length; at += sizeof(struct hash128)) {
        struct hash128 hash;
        memcpy(&hash, hashes.bytes + at, sizeof(hash));
        hash_set_add(set, hash);
    }
    mem_free(path);
    buf_done(&hashes);
    return status;
}

enum status hash_set_add_store(struct hash_set *set, const char *path)
{
    struct store store;
    TRY(store_load(path, &store));
    enum status status = OK;
    for (uint32_t i = 0; i < store.shard_count && status == OK; i++)
        status = add_shard(set, &store.shards[i]);
    store_done(&store);
    return status;
}
