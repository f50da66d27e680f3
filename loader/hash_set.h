/* hash_set.h - which images are here already, by XXH3-128 of their files. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_HASH_SET_H
#define LOADER_HASH_SET_H

#include <stddef.h>

#include "common/hash.h"
#include "common/status.h"

struct hash_set {
    size_t count;
    size_t capacity;       /* a power of two, or 0 */
    struct hash128 *slots; /* both words 0: free; owned */
};

void hash_set_init(struct hash_set *set);
void hash_set_done(struct hash_set *set);
/* 1 if it was new. */
int hash_set_add(struct hash_set *set, struct hash128 hash);
int hash_set_has(const struct hash_set *set, struct hash128 hash);
/* Adds what every shard of a store holds (their hashes.bin). A shard without such a file is passed
 * over. ERR_CORRUPT, ERR_IO. */
enum status hash_set_add_store(struct hash_set *set, const char *store);

#endif
