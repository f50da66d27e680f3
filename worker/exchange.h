/* exchange.h - where each small reduction has its place behind the state.
 *
 * A collective works on one region of memory, so whatever members sum or compare lies here, at
 * offsets that depend on the config alone: all members have the same. Only one BN message is under
 * way at a time (they are waited for); the tail may travel in the background of backward. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EXCHANGE_H
#define WORKER_EXCHANGE_H

#include <stddef.h>

#include "common/config.h"

/* A value as a pair of doubles takes the room of so many floats (device.h, wide_add). */
enum { WIDE_FLOATS = 4 };
/* Members, generation, step and messages so far: of all members the same, so sums tell. */
enum { EXCHANGE_SEAL = 4 };

/* Offsets in floats from the start of the area, multiples of 16. With exact reduction BN sums and
 * Sinkhorn's sums are pairs of doubles. */
struct exchange {
    size_t norms[2];   /* a message of BN sums each: [BN group][one or two layers][resolution][2]
                          [channels] */
    size_t max;        /* the largest score of each head of prototypes */
    size_t prototypes; /* Sinkhorn: head by head [crops assigned][prototypes] */
    size_t tail;       /* the loss of each slot, then the embeddings of the step for the queue */
    size_t embeddings; /* [crops assigned][batch_images][embedding]; none without a queue */
    size_t tail_floats;
    size_t seal;   /* what goes behind the last gradients, to be checked: doubles [EXCHANGE_SEAL] */
    size_t shares; /* struct bn_share [member], whose number is at most that of slots */
    size_t holdings; /* struct slice_holding [member]; none if the momentum is not sharded */
    size_t total_floats;
};

void exchange_init(struct exchange *exchange, const struct config *config);

/* Runs of floats begin on cache lines, so that vector loads are aligned. */
static inline size_t exchange_align(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

#endif
