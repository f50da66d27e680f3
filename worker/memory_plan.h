/* memory_plan.h - what training will take of a device's memory, known before any of it is taken.
 *
 * The model, state and optimizer are built once on a planner, so the plan is no estimate: it is
 * what they ask for. It depends on config, device, the member's share of slots, and, with a feature
 * queue or a sharded momentum, on the number of members. Inference on the side is not in it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MEMORY_PLAN_H
#define WORKER_MEMORY_PLAN_H

#include <stddef.h>

#include "common/buf.h"
#include "common/config.h"
#include "worker/device/device.h"

enum { MEMORY_ROWS_MAX = 24 };

struct memory_row {
    const char *name; /* one word, static */
    size_t bytes;
};

struct memory_plan {
    int slots;
    int row_count;
    struct memory_row rows[MEMORY_ROWS_MAX]; /* all of it; none is 0 */
    size_t arena_bytes;                      /* of the model's one allocation */
    size_t state_bytes;                      /* of these: what lives as long as the worker */
    size_t total_bytes;
    size_t
        more_bytes; /* than the device holds once there is the state: of arena and convolutions */
};

/* For a share of `slots` among `members`. ERR_INPUT; ERR_DEVICE: a convolution cannot be had. */
enum status memory_plan_make(const struct config *config, struct device *device, int slots,
                             int members, struct memory_plan *ret_plan);
/* The most slots that fit into what is free now, 0 to the slots of a step. has_state: state and
 * optimizer are there already. Errors as memory_plan_make. */
enum status memory_plan_most_slots(const struct config *config, struct device *device, int members,
                                   int has_state, int *ret_slots);
/* ERR_DEVICE, naming the largest share that fits, if the plan does not; the state is there. */
enum status memory_plan_check(const struct memory_plan *plan, const struct config *config,
                              struct device *device, int members);
/* One line for the log: key=value for each row, in MiB. */
void memory_plan_log(const struct memory_plan *plan);

#endif
