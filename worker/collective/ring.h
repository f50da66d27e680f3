/* ring.h - the page that a worker and its helper share: orders one way, completions the other.
 *
 * One poster (the worker's training thread), one server (the helper). Orders are served in the
 * order posted, several at a time, and may complete out of order: a small sum need not wait for the
 * large one that was started before it. Sleeping is on futexes, so neither side burns a core. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_RING_H
#define WORKER_COLLECTIVE_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum {
    RING_COMMANDS = 1024,       /* orders that may be open at once */
    RING_PIECE_BYTES = 4 << 20, /* larger operations are cut: pieces overlap in the helper */
};

/* SPLIT cuts the members anew into the subgroups of `subgroup`: root is the colour, count is 0, and
 * no other order is open. */
enum ring_op { RING_SUM, RING_MAX, RING_SUM_DOUBLE, RING_BROADCAST, RING_GATHER, RING_SPLIT };
/* Who takes part: all, or this member's subgroup of a cut, 1 + cut. */
enum { RING_ALL, RING_SUBGROUPS = 2 };

struct ring_command {
    uint32_t op; /* enum ring_op */
    int32_t root;
    uint32_t subgroup;     /* RING_ALL or 1 + cut; sums alone */
    uint64_t offset;       /* bytes into the region */
    uint64_t count;        /* floats (sum, max), doubles or bytes */
    _Atomic uint64_t done; /* sequence + 1 of the last order completed in this place */
};

/* A counter on which one side sleeps until the other has moved it. */
struct bell {
    _Atomic uint32_t count;
    _Atomic uint32_t sleepers;
};

struct ring {
    struct bell worker_bell;    /* completions, formed, failures */
    struct bell helper_bell;    /* orders */
    _Atomic uint32_t is_formed; /* the helper has met all others */
    _Atomic uint64_t turns;     /* counted up by the helper for as long as it runs */
    _Atomic uint64_t posted;    /* orders posted so far: the next sequence */
    struct ring_command commands[RING_COMMANDS];
};

uint32_t bell_count(struct bell *bell);
void bell_ring(struct bell *bell);
/* Sleeps until the count is no longer `seen`, at most timeout_us. Returns early at will. */
void bell_wait(struct bell *bell, uint32_t seen, int64_t timeout_us);

/* A new ring in a memfd of its own, mapped. */
enum status ring_create(int *ret_fd, struct ring **ret_ring);
enum status ring_map(int fd, struct ring **ret_ring);
void ring_unmap(struct ring *ring); /* NULL is fine */

int ring_is_done(struct ring *ring, uint64_t sequence);
/* The place of the next order must be free: ring_is_done(posted - RING_COMMANDS). */
uint64_t ring_post(struct ring *ring, const struct ring_command *command);
void ring_complete(struct ring *ring, uint64_t sequence);

#endif
