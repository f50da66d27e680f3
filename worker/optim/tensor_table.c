/* tensor_table.c - where the tensors of an arena lie, as the device's optimizer wants to be told.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/optim/tensor_table.h"

enum status tensor_table_init(struct optimizer_tensors *tensors, struct arena *memory,
                              const struct tensor_place *places, int count)
{
    const struct device_ops *ops = memory->device->ops;
    size_t *offset = arena_take(memory, (size_t)count * sizeof(*offset));
    size_t *length = arena_take(memory, (size_t)count * sizeof(*length));
    tensors->count = count;
    tensors->offset = offset;
    tensors->length = length;
    tensors->is_frozen = arena_take(memory, (size_t)count);
    tensors->norms = arena_floats(memory, 2 * (size_t)count);
    TRY(arena_check(memory));
    for (int i = 0; i < count; i++) {
        ops->upload(memory->device, offset + i, &places[i].offset, sizeof(*offset));
        ops->upload(memory->device, length + i, &places[i].length, sizeof(*length));
    }
    return OK;
}

void tensor_table_freeze(const struct optimizer_tensors *tensors, struct device *device, int index,
                         int is_frozen)
{
    const uint8_t byte = is_frozen != 0;
    device->ops->upload(device, (void *)(uintptr_t)(tensors->is_frozen + index), &byte, 1);
}
