/* momentum.h - the slices of a sharded momentum that this member keeps (common/slice.h).
 *
 * Slices are of equal length, a multiple of 16 floats, so that one all-gather makes the whole; what
 * is left over at the arena's end, less than 16 floats for each member, everybody keeps. The whole
 * comes and goes in the place of the gradients (state.h); this is a copy beside it, which changes
 * with a verdict or when a generation is formed, never within a step. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MOMENTUM_H
#define WORKER_MOMENTUM_H

#include <stddef.h>

#include "common/slice.h"
#include "common/status.h"
#include "worker/device/device.h"

/* Its own slice, the one before it, and what is left over. */
enum { MOMENTUM_OWN, MOMENTUM_BEFORE, MOMENTUM_REST, MOMENTUM_RUNS };

/* Elements [first, first + count) of the arena lie from `at` on; count 0: none. */
struct momentum_run {
    size_t first, count, at;
};

struct momentum {
    struct device *device; /* borrowed */
    size_t arena_floats;   /* of the whole */
    struct slice_holding holding;
    struct momentum_run runs[MOMENTUM_RUNS];
    float *memory; /* [floats], of the device; owned */
    size_t floats;
};

/* Of the cut into `count`. */
size_t momentum_slice_floats(size_t arena_floats, uint32_t count);
/* Holds nothing. */
void momentum_init(struct momentum *momentum, struct device *device, size_t arena_floats);
void momentum_done(struct momentum *momentum);
/* From now on it holds these slices, as they are in the whole of `arena`, which may be NULL: then
 * they are undefined. ERR_DEVICE: not enough memory; it holds nothing then. */
enum status momentum_hold(struct momentum *momentum, struct slice_holding holding,
                          const float *arena);
/* Its slices become those of the whole in `arena`. */
void momentum_take(struct momentum *momentum, const float *arena);
/* Of the elements [first, end), those that are kept here go to their place in `arena`. */
void momentum_give(const struct momentum *momentum, size_t first, size_t end, float *arena);
/* Where element `first` of the arena is kept, and how many of those from it on lie there together;
 * NULL: not here. */
const float *momentum_find(const struct momentum *momentum, size_t first, size_t *ret_count);

#endif
