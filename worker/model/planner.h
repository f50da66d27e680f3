/* planner.h - a device on which a model can be built and never run: it counts what is asked for.
 *
 * Memory it gives lies nowhere. Convolutions are not made, the real device only says what they
 * would take. All operations that compute are missing. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_PLANNER_H
#define WORKER_MODEL_PLANNER_H

#include "worker/device/device.h"

struct planner {
    struct device device; /* first: a struct device * of it is a struct planner * */
    struct device_ops ops;
    struct device *real;     /* borrowed */
    size_t allocated;        /* bytes asked of allocate */
    struct conv_memory conv; /* own: of all convolutions; shared: the largest */
};

void planner_init(struct planner *planner, struct device *real);

#endif
