/* saved_tensors.c - tensors of a safetensors file into a state, found by their names. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/saved_tensors.h"

#include <string.h>

static enum status load_tensor(const char *path, const struct safetensors_header *header,
                               const struct state_tensor *tensor, struct state *state)
{
    const struct safetensors_tensor *found = safetensors_find(header, tensor->name);
    if (found == NULL)
        return fail(ERR_CORRUPT, "'%s' lacks tensor '%s' of the network that its config describes",
                    path, tensor->name);
    int is_same = found->type == SAFETENSORS_F32 && found->rank == tensor->rank;
    for (int i = 0; i < tensor->rank && is_same; i++)
        is_same = found->shape[i] == tensor->shape[i];
    if (!is_same)
        return fail(ERR_CORRUPT, "'%s': tensor '%s' has another shape than its config says", path,
                    tensor->name);
    state->device->ops->upload(state->device, state->block + tensor->offset, found->data,
                               tensor->length * sizeof(float));
    return OK;
}

enum status saved_tensors_load(const char *path, const struct safetensors_header *header,
                               const char *prefix, int has_momentum, struct state *state)
{
    for (int i = 0; i < state->layout.tensor_count; i++) {
        const struct state_tensor *tensor = &state->layout.tensors[i];
        const int is_named = strncmp(tensor->name, prefix, strlen(prefix)) == 0;
        if (tensor->kind == STATE_MOMENTUM ? has_momentum : is_named && tensor->kind != STATE_QUEUE)
            TRY(load_tensor(path, header, tensor, state));
    }
    return OK;
}
