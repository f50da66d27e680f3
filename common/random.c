/* random.c - Philox4x32-10 and a Feistel bijection on top of it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/random.h"

#include <math.h>

#include "common/check.h"

/* Multipliers and Weyl constants of Philox4x32 (Salmon et al. 2011, table 2). */
enum { ROUNDS = 10 };
static const uint32_t MULTIPLIER_0 = 0xD2511F53u, MULTIPLIER_1 = 0xCD9E8D57u;
static const uint32_t WEYL_0 = 0x9E3779B9u, WEYL_1 = 0xBB67AE85u;

void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t ret_words[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t p0 = (uint64_t)MULTIPLIER_0 * c0;
        uint64_t p1 = (uint64_t)MULTIPLIER_1 * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        uint32_t n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += WEYL_0;
        k1 += WEYL_1;
    }
    ret_words[0] = c0;
    ret_words[1] = c1;
    ret_words[2] = c2;
    ret_words[3] = c3;
}

/* The key is a hash of (seed, stream, index, lane), so that no two of them share a sequence. */
void random_init(struct random *random, uint64_t seed, enum random_stream stream, uint64_t index,
                 uint32_t lane)
{
    uint32_t words[4];
    const uint32_t counter[4] = {(uint32_t)index, (uint32_t)(index >> 32), (uint32_t)stream, lane};
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    random_philox(counter, key, words);
    *random = (struct random){
        .key = {words[0], words[1]},
        .counter = {0, 0, words[2], words[3]},
        .used = 4,
    };
}

uint32_t random_u32(struct random *random)
{
    if (random->used == 4) {
        random_philox(random->counter, random->key, random->block);
        if (++random->counter[0] == 0)
            random->counter[1]++;
        random->used = 0;
    }
    return random->block[random->used++];
}

uint64_t random_u64(struct random *random)
{
    uint64_t high = random_u32(random);
    return high << 32 | random_u32(random);
}

float random_float(struct random *random)
{
    return (float)(random_u32(random) >> 8) * 0x1p-24f;
}

double random_uniform(struct random *random, double low, double high)
{
    return low + (high - low) * ((double)(random_u64(random) >> 11) * 0x1p-53);
}

uint32_t random_below(struct random *random, uint32_t bound)
{
    CHECK(bound > 0);
    return (uint32_t)(((unsigned __int128)random_u64(random) * bound) >> 64);
}

double random_normal(struct random *random)
{
    double radius = sqrt(-2.0 * log(1.0 - random_uniform(random, 0.0, 1.0)));
    return radius * cos(2.0 * 3.14159265358979323846 * random_uniform(random, 0.0, 1.0));
}

/* What one round of the network adds to the other half. */
static uint64_t feistel_mix(uint64_t half, uint32_t round, const struct random *keyed)
{
    uint32_t words[4];
    const uint32_t counter[4] = {(uint32_t)half, (uint32_t)(half >> 32), keyed->counter[2] ^ round,
                                 keyed->counter[3]};
    random_philox(counter, keyed->key, words);
    return (uint64_t)words[0] << 32 | words[1];
}

/* Four rounds pass every test we need of it. */
enum { FEISTEL_ROUNDS = 4 };

/* A balanced Feistel network over a square of 2*half_bits bits, and a bijection of it. */
struct feistel {
    unsigned half_bits;
    uint64_t mask;
    struct random keyed;
};

static void feistel_init(struct feistel *feistel, uint64_t size, uint64_t seed,
                         enum random_stream stream, uint64_t index)
{
    const unsigned bits = 64 - (unsigned)__builtin_clzll(size | 1);
    feistel->half_bits = (bits + 1) / 2;
    feistel->mask = (UINT64_C(1) << feistel->half_bits) - 1;
    random_init(&feistel->keyed, seed, stream, index, 0);
}

static uint64_t feistel_forth(const struct feistel *feistel, uint64_t value)
{
    uint64_t left = value >> feistel->half_bits, right = value & feistel->mask;
    for (uint32_t round = 0; round < FEISTEL_ROUNDS; round++) {
        uint64_t next = left ^ (feistel_mix(right, round, &feistel->keyed) & feistel->mask);
        left = right;
        right = next;
    }
    return left << feistel->half_bits | right;
}

static uint64_t feistel_back(const struct feistel *feistel, uint64_t value)
{
    uint64_t left = value >> feistel->half_bits, right = value & feistel->mask;
    for (uint32_t round = FEISTEL_ROUNDS; round-- > 0;) {
        uint64_t before = right ^ (feistel_mix(left, round, &feistel->keyed) & feistel->mask);
        right = left;
        left = before;
    }
    return left << feistel->half_bits | right;
}

/* The network covers less than four times size: cycle walking ends after few turns. */
uint64_t random_permute(uint64_t position, uint64_t size, uint64_t seed, enum random_stream stream,
                        uint64_t index)
{
    CHECK(position < size);
    struct feistel feistel;
    feistel_init(&feistel, size, seed, stream, index);
    do
        position = feistel_forth(&feistel, position);
    while (position >= size);
    return position;
}

uint64_t random_unpermute(uint64_t position, uint64_t size, uint64_t seed,
                          enum random_stream stream, uint64_t index)
{
    CHECK(position < size);
    struct feistel feistel;
    feistel_init(&feistel, size, seed, stream, index);
    do
        position = feistel_back(&feistel, position);
    while (position >= size);
    return position;
}
