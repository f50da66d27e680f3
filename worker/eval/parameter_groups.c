/* parameter_groups.c - SGD with a rate and a weight decay for each kind of parameter. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/parameter_groups.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "worker/optim/tensor_table.h"

/* A layer with running statistics is a batch normalisation. */
static int is_of_norm(const struct state_layout *layout, const char *name)
{
    char statistic[sizeof(layout->tensors[0].name) + 16];
    const char *dot = strrchr(name, '.');
    if (dot == NULL)
        return 0;
    snprintf(statistic, sizeof(statistic), "%.*s.running_mean", (int)(dot - name), name);
    return state_find(layout, statistic) != NULL;
}

static enum parameter_kind kind_of(const struct state_layout *layout,
                                   const struct state_tensor *tensor)
{
    if (strncmp(tensor->name, "trunk.", strlen("trunk.")) != 0)
        return PARAMETER_CLASSIFIER;
    return is_of_norm(layout, tensor->name) ? PARAMETER_NORM : PARAMETER_TRUNK;
}

enum status parameter_groups_init(struct parameter_groups *groups, struct state *state)
{
    const struct state_layout *layout = &state->layout;
    struct tensor_place *places = mem_array((size_t)layout->tensor_count, sizeof(*places));
    enum status status = OK;
    *groups = (struct parameter_groups){.state = state};
    arena_init(&groups->arena, state->device);
    for (int kind = 0; kind < PARAMETER_KINDS && status == OK; kind++) {
        int count = 0;
        for (int i = 0; i < layout->tensor_count; i++) {
            const struct state_tensor *tensor = &layout->tensors[i];
            if (tensor->kind == STATE_PARAMETER && (int)kind_of(layout, tensor) == kind)
                places[count++] = (struct tensor_place){tensor->offset, tensor->length};
        }
        struct optimizer_tensors *tensors = &groups->tensors[kind];
        status = tensor_table_init(tensors, &groups->arena, places, count);
        tensors->weights = state->params;
        tensors->grads = state->grads;
        tensors->momentum = state->momentum;
    }
    mem_free(places);
    return status;
}

void parameter_groups_done(struct parameter_groups *groups)
{
    if (groups->state != NULL)
        arena_done(&groups->arena);
}

void parameter_groups_update(struct parameter_groups *groups, const struct parameter_rates *rates)
{
    struct device *device = groups->state->device;
    for (int kind = 0; kind < PARAMETER_KINDS; kind++) {
        const struct optimizer_rule rule = {
            .lr = (float)(kind == PARAMETER_CLASSIFIER ? rates->classifier : rates->trunk),
            .momentum = (float)rates->momentum,
            .weight_decay = kind == PARAMETER_NORM ? 0 : (float)rates->weight_decay,
            .is_nesterov = rates->is_nesterov,
        };
        device->ops->optimizer_rule(device, &rule);
        device->ops->optimizer_update(device, &groups->tensors[kind]);
    }
}
