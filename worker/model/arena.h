/* arena.h - device memory that is taken piece by piece and given back at once.
 *
 * A model takes all it needs while it is built and nothing afterwards. Running out is remembered:
 * arena_take then gives NULL, and arena_check says so once at the end. What is taken is counted by
 * part, so that a model built on a planner (planner.h) says what a real one will need; that much is
 * then reserved in one allocation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_ARENA_H
#define WORKER_MODEL_ARENA_H

#include <stddef.h>

#include "common/status.h"
#include "worker/device/device.h"

struct arena_chunk;

/* What memory is for. */
enum arena_part {
    ARENA_SMALL,       /* sums, statistics of BN, squeeze-and-excitation */
    ARENA_IMAGES,      /* as bytes and normalised */
    ARENA_ACTIVATIONS, /* kept from forward to backward, or passing between operations */
    ARENA_RECOMPUTED,  /* of the one block that is recomputed at a time */
    ARENA_BACKWARD,    /* gradients of activations */
    ARENA_HEAD,        /* projection head and prototype scores */
    ARENA_CODES,       /* Sinkhorn and targets */
    ARENA_PARTS
};

struct arena {
    struct device *device;      /* borrowed */
    struct arena_chunk *chunks; /* newest first; owned */
    size_t total_bytes;
    enum arena_part part;           /* for which is taken now */
    size_t part_bytes[ARENA_PARTS]; /* taken so far, rounded up as taken */
    enum status status;
};

void arena_init(struct arena *arena, struct device *device);
void arena_done(struct arena *arena);
/* One allocation that the next pieces come out of. */
void arena_reserve(struct arena *arena, size_t bytes);
/* What is taken from now on is for `part`; it begins with ARENA_SMALL. Returns what it was for. */
enum arena_part arena_enter(struct arena *arena, enum arena_part part);
/* Zeroed, aligned to 64 bytes or better; lives until arena_done. */
void *arena_take(struct arena *arena, size_t bytes);
float *arena_floats(struct arena *arena, size_t count);
/* ERR_DEVICE if any piece could not be had; fail_message() says which. */
enum status arena_check(const struct arena *arena);

#endif
