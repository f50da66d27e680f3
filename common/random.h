/* random.h - randomness as a function: no state to save, move or lock.
 *
 * Every random number of a run is f(seed, stream, index, draw): `stream` is the purpose, `index`
 * what it is for (a stream position, a parameter), `draw` counts within. The generator is
 * Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), so any
 * number can be had in any order on any worker. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_RANDOM_H
#define COMMON_RANDOM_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Purposes. Appending is safe; renumbering changes every run. */
enum random_stream {
    RANDOM_STREAM_BLOCKS = 1, /* order of blocks in a pass */
    RANDOM_STREAM_WINDOW = 2, /* order of records in a window */
    RANDOM_STREAM_CROP = 3,   /* augmentation; index = position, draw = crop and purpose */
    RANDOM_STREAM_INIT = 4,   /* initial weights; index = parameter */
    RANDOM_STREAM_TEST = 5,
    RANDOM_STREAM_NONCE = 6,  /* secrets of a process; seed = its entropy */
    RANDOM_STREAM_SUBSET = 7, /* labels that an evaluation may use; index = class */
};

/* A cursor over the draws of one (seed, stream, index, lane); a value, copy it freely. */
struct random {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    uint32_t used; /* words of block already handed out */
};

/* Four words for one counter: the bare function. */
void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t ret_words[4]);

/* lane separates parallel uses of one index (for example the crops of one image). */
void random_init(struct random *random, uint64_t seed, enum random_stream stream, uint64_t index,
                 uint32_t lane);
uint32_t random_u32(struct random *random);
uint64_t random_u64(struct random *random);
/* Uniform in [0, 1) with 24 bits: exact in float. */
float random_float(struct random *random);
/* Uniform in [low, high). */
double random_uniform(struct random *random, double low, double high);
/* Uniform integer in [0, bound); bound > 0. No modulo bias worth naming (64-bit multiply-shift). */
uint32_t random_below(struct random *random, uint32_t bound);
/* Standard normal (Box-Muller). */
double random_normal(struct random *random);

/* Bijection on [0, size), size > 0: position -> position, keyed by (seed, stream, index). A Feistel
 * network with cycle walking (Black and Rogaway 2002), so it needs no table: O(1) expected. */
uint64_t random_permute(uint64_t position, uint64_t size, uint64_t seed, enum random_stream stream,
                        uint64_t index);
/* Its inverse: what random_permute brings to this position. */
uint64_t random_unpermute(uint64_t position, uint64_t size, uint64_t seed,
                          enum random_stream stream, uint64_t index);

#ifdef __cplusplus
}
#endif
#endif
