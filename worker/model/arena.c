/* arena.c - device memory that is taken piece by piece and given back at once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/arena.h"

#include <stdint.h>

#include "common/mem.h"

/* Small pieces share a chunk; what is larger gets its own. */
enum { CHUNK_BYTES = 4 << 20, ALIGNMENT = 256 };

struct arena_chunk {
    struct arena_chunk *next;
    uint8_t *memory;
    size_t bytes, used;
};

void arena_init(struct arena *arena, struct device *device)
{
    *arena = (struct arena){.device = device};
}

void arena_done(struct arena *arena)
{
    while (arena->chunks != NULL) {
        struct arena_chunk *chunk = arena->chunks;
        arena->chunks = chunk->next;
        arena->device->ops->release(arena->device, chunk->memory, chunk->bytes, -1);
        mem_free(chunk);
    }
}

static enum status add_chunk(struct arena *arena, size_t bytes)
{
    void *memory = NULL;
    TRY(arena->device->ops->allocate(arena->device, bytes, NULL, &memory));
    struct arena_chunk *chunk = mem_zero(sizeof(*chunk));
    *chunk = (struct arena_chunk){.next = arena->chunks, .memory = memory, .bytes = bytes};
    arena->chunks = chunk;
    arena->total_bytes += bytes;
    return OK;
}

void arena_reserve(struct arena *arena, size_t bytes)
{
    if (arena->status == OK && bytes > 0)
        arena->status = add_chunk(arena, bytes);
}

enum arena_part arena_enter(struct arena *arena, enum arena_part part)
{
    const enum arena_part before = arena->part;
    arena->part = part;
    return before;
}

void *arena_take(struct arena *arena, size_t bytes)
{
    const size_t rounded = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct arena_chunk *chunk = arena->chunks;
    if (arena->status != OK)
        return NULL;
    if (chunk == NULL || chunk->bytes - chunk->used < rounded) {
        arena->status = add_chunk(arena, rounded > CHUNK_BYTES ? rounded : CHUNK_BYTES);
        if (arena->status != OK)
            return NULL;
        chunk = arena->chunks;
    }
    void *piece = chunk->memory + chunk->used;
    chunk->used += rounded;
    arena->part_bytes[arena->part] += rounded;
    return piece;
}

float *arena_floats(struct arena *arena, size_t count)
{
    return arena_take(arena, count * sizeof(float));
}

enum status arena_check(const struct arena *arena)
{
    if (arena->status == OK)
        return OK;
    return fail_add(arena->status, "after %zu MiB of activations", arena->total_bytes >> 20);
}
