/* tensor_table.h - where the tensors of an arena lie, as the device's optimizer wants to be told.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_OPTIM_TENSOR_TABLE_H
#define WORKER_OPTIM_TENSOR_TABLE_H

#include "worker/device/device.h"
#include "worker/model/arena.h"

struct tensor_place {
    size_t offset, length; /* elements */
};

/* Takes the tables out of memory and fills in all but weights, grads and momentum; no tensor is
 * frozen. ERR_DEVICE. */
enum status tensor_table_init(struct optimizer_tensors *tensors, struct arena *memory,
                              const struct tensor_place *places, int count);
void tensor_table_freeze(const struct optimizer_tensors *tensors, struct device *device, int index,
                         int is_frozen);

#endif
