/* optimizer.c - LARC or plain SGD over all parameters at once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/optim/optimizer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "worker/optim/tensor_table.h"

static int parameter_count(const struct state_layout *layout)
{
    int count = 0;
    while (count < layout->tensor_count && layout->tensors[count].kind == STATE_PARAMETER)
        count++;
    return count;
}

static enum status place_tensors(struct optimizer *optimizer, int count)
{
    const struct state_layout *layout = &optimizer->state->layout;
    struct tensor_place *places = mem_array((size_t)count, sizeof(*places));
    for (int i = 0; i < count; i++) {
        const struct state_tensor *tensor = &layout->tensors[i];
        places[i] = (struct tensor_place){tensor->offset, tensor->length};
    }
    optimizer->prototypes = count - optimizer->prototype_heads; /* they lie last */
    const enum status status =
        tensor_table_init(&optimizer->tensors, &optimizer->arena, places, count);
    mem_free(places);
    return status;
}

enum status optimizer_init(struct optimizer *optimizer, const struct config *config,
                           struct state *state)
{
    const int count = parameter_count(&state->layout);
    *optimizer = (struct optimizer){
        .state = state,
        .prototype_heads = (int)config->model.prototype_heads,
        .freeze_steps = (uint64_t)config->swav.freeze_prototypes_steps,
        .norms = mem_array(2 * (size_t)count, sizeof(*optimizer->norms)),
        .rule =
            {
                .is_larc = config->optimizer.kind == OPTIMIZER_LARC,
                .is_clip = config->optimizer.clip != 0,
                .momentum = (float)config->optimizer.momentum,
                .weight_decay = (float)config->optimizer.weight_decay,
                .trust = (float)config->optimizer.trust,
                .eps = (float)config->optimizer.eps,
            },
        .tensors =
            {
                .weights = state->params,
                .grads = state->grads,
                .momentum = state->momentum,
            },
    };
    arena_init(&optimizer->arena, state->device);
    return place_tensors(optimizer, count);
}

void optimizer_done(struct optimizer *optimizer)
{
    mem_free(optimizer->norms);
    if (optimizer->state != NULL)
        arena_done(&optimizer->arena);
}

void optimizer_measure(struct optimizer *optimizer, uint64_t number, double *ret_grad_norm)
{
    struct device *device = optimizer->state->device;
    const struct optimizer_tensors *tensors = &optimizer->tensors;
    const int is_frozen = number < optimizer->freeze_steps;
    double square = 0;
    for (int i = optimizer->prototypes; i < tensors->count; i++)
        tensor_table_freeze(tensors, device, i, is_frozen);
    device->ops->optimizer_norms(device, tensors);
    device->ops->download(device, optimizer->norms, tensors->norms,
                          2 * (size_t)tensors->count * sizeof(*optimizer->norms));
    optimizer->moving = is_frozen ? optimizer->prototypes : tensors->count;
    for (int i = 0; i < optimizer->moving; i++)
        square += (double)optimizer->norms[2 * i + 1];
    *ret_grad_norm = sqrt(square);
}

double optimizer_weight_norm(const struct optimizer *optimizer)
{
    double square = 0;
    for (int i = 0; i < optimizer->tensors.count; i++)
        square += (double)optimizer->norms[2 * i];
    return sqrt(square);
}

static int compare_ratios(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void optimizer_trust(const struct optimizer *optimizer, double *ret_least, double *ret_median)
{
    const struct optimizer_rule *rule = &optimizer->rule;
    double *ratios = mem_array((size_t)optimizer->tensors.count, sizeof(*ratios));
    size_t count = 0;
    for (int i = 0; i < optimizer->moving && rule->is_larc; i++) {
        const double weight = sqrt((double)optimizer->norms[2 * i]);
        const double grad = sqrt((double)optimizer->norms[2 * i + 1]);
        if (weight > 0 && grad > 0)
            ratios[count++] = (double)rule->trust * weight /
                              (grad + (double)rule->weight_decay * weight + (double)rule->eps);
    }
    qsort(ratios, count, sizeof(*ratios), compare_ratios);
    *ret_least = count > 0 ? ratios[0] : 0;
    *ret_median = count > 0 ? ratios[count / 2] : 0;
    mem_free(ratios);
}

void optimizer_advance(struct optimizer *optimizer, int is_void)
{
    const struct state *state = optimizer->state;
    const struct device_ops *ops = state->device->ops;
    const struct momentum *kept = &state->kept;
    /* Its rate is an earlier one; the present comes with the verdict, and only the move needs it.
     */
    ops->optimizer_rule(state->device, &optimizer->rule);
    for (int i = 0; i < MOMENTUM_RUNS; i++) {
        const struct momentum_run *run = &kept->runs[i];
        if (i == MOMENTUM_BEFORE)
            continue; /* comes from the member whose own it is */
        if (is_void)
            ops->copy(state->device, state->grads + run->first, kept->memory + run->at,
                      run->count * sizeof(float));
        else
            ops->optimizer_momentum(state->device, &optimizer->tensors, kept->memory + run->at,
                                    run->first, run->count);
    }
}

void optimizer_prepare(struct optimizer *optimizer, double lr)
{
    struct device *device = optimizer->state->device;
    optimizer->rule.lr = (float)lr;
    device->ops->optimizer_rule(device, &optimizer->rule);
}

void optimizer_update(struct optimizer *optimizer)
{
    struct state *state = optimizer->state;
    struct device *device = state->device;
    if (!state->is_sharded) {
        device->ops->optimizer_update(device, &optimizer->tensors);
        return;
    }
    device->ops->optimizer_move(device, &optimizer->tensors);
    momentum_take(&state->kept, state->momentum);
}
