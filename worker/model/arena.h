/* arena.h - device memory that is taken piece by piece and given back at once.
 *
 * A model takes all it needs while it is built and nothing afterwards. Running out is remembered:
 * arena_take then gives NULL, and arena_check says so once at the end. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_ARENA_H
#define WORKER_MODEL_ARENA_H

#include <stddef.h>

#include "common/status.h"
#include "worker/device/device.h"

struct arena_chunk;

struct arena {
    struct device *device;      /* borrowed */
    struct arena_chunk *chunks; /* newest first; owned */
    size_t total_bytes;
    enum status status;
};

void arena_init(struct arena *arena, struct device *device);
void arena_done(struct arena *arena);
/* Zeroed, aligned to 64 bytes or better; lives until arena_done. */
void *arena_take(struct arena *arena, size_t bytes);
float *arena_floats(struct arena *arena, size_t count);
/* ERR_DEVICE if any piece could not be had; fail_message() says which. */
enum status arena_check(const struct arena *arena);

#endif
