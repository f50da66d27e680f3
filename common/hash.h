/* hash.h - XXH3 of bytes: 64 bits for digests and checksums, 128 bits for identity of images. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_HASH_H
#define COMMON_HASH_H

#include <stddef.h>
#include <stdint.h>

struct hash128 {
    uint64_t low;
    uint64_t high;
};

uint64_t hash_bytes(const void *bytes, size_t length);
/* Chains: the digest of several regions in order. Start from seed 0. */
uint64_t hash_bytes_seed(const void *bytes, size_t length, uint64_t seed);
struct hash128 hash128_bytes(const void *bytes, size_t length);

#endif
