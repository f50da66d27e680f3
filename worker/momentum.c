/* momentum.c - the slices of a sharded momentum that this member keeps. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/momentum.h"

#include "common/check.h"

enum { SLICE_ALIGN = 16 /* floats, as tensors begin (exchange.h) */ };

size_t momentum_slice_floats(size_t arena_floats, uint32_t count)
{
    return arena_floats / count / SLICE_ALIGN * SLICE_ALIGN;
}

void momentum_init(struct momentum *momentum, struct device *device, size_t arena_floats)
{
    *momentum = (struct momentum){.device = device, .arena_floats = arena_floats};
}

void momentum_done(struct momentum *momentum)
{
    if (momentum->memory != NULL)
        momentum->device->ops->release(momentum->device, momentum->memory,
                                       momentum->floats * sizeof(float), -1);
    momentum_init(momentum, momentum->device, momentum->arena_floats);
}

static void lay_out(struct momentum *momentum)
{
    const struct slice_holding holding = momentum->holding;
    const size_t slice = momentum_slice_floats(momentum->arena_floats, holding.count);
    const size_t end = slice * holding.count;
    const uint32_t before = (holding.rank + holding.count - 1) % holding.count;
    struct momentum_run *runs = momentum->runs;
    runs[MOMENTUM_OWN] = (struct momentum_run){holding.rank * slice, slice, 0};
    const size_t second = holding.count > 1 ? slice : 0;
    runs[MOMENTUM_BEFORE] = (struct momentum_run){before * slice, second, slice};
    runs[MOMENTUM_REST] = (struct momentum_run){end, momentum->arena_floats - end, slice + second};
    momentum->floats = slice + second + runs[MOMENTUM_REST].count;
}

enum status momentum_hold(struct momentum *momentum, struct slice_holding holding,
                          const float *arena)
{
    void *memory = NULL;
    momentum_done(momentum);
    CHECK(holding.rank < holding.count);
    momentum->holding = holding;
    lay_out(momentum);
    const enum status status = momentum->device->ops->allocate(
        momentum->device, momentum->floats * sizeof(float), NULL, &memory);
    if (status != OK) {
        momentum_init(momentum, momentum->device, momentum->arena_floats);
        return status;
    }
    momentum->memory = memory;
    if (arena != NULL)
        momentum_take(momentum, arena);
    return OK;
}

void momentum_take(struct momentum *momentum, const float *arena)
{
    struct device *device = momentum->device;
    for (int i = 0; i < MOMENTUM_RUNS; i++) {
        const struct momentum_run *run = &momentum->runs[i];
        device->ops->copy(device, momentum->memory + run->at, arena + run->first,
                          run->count * sizeof(float));
    }
}

/* Those of the run that lie in [first, end). */
static void give_part(const struct momentum *momentum, const struct momentum_run *run, size_t first,
                      size_t end, float *arena)
{
    struct device *device = momentum->device;
    const size_t from = first > run->first ? first : run->first;
    const size_t to = end < run->first + run->count ? end : run->first + run->count;
    if (from < to)
        device->ops->copy(device, arena + from, momentum->memory + run->at + (from - run->first),
                          (to - from) * sizeof(float));
}

void momentum_give(const struct momentum *momentum, size_t first, size_t end, float *arena)
{
    for (int i = 0; i < MOMENTUM_RUNS; i++)
        give_part(momentum, &momentum->runs[i], first, end, arena);
}

const float *momentum_find(const struct momentum *momentum, size_t first, size_t *ret_count)
{
    for (int i = 0; i < MOMENTUM_RUNS; i++) {
        const struct momentum_run *run = &momentum->runs[i];
        if (first < run->first || first - run->first >= run->count)
            continue;
        *ret_count = run->first + run->count - first;
        return momentum->memory + run->at + (first - run->first);
    }
    return NULL;
}
