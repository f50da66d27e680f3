/* kernel_optimizer.c - norms per tensor, then LARC or SGD over the arena. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include <math.h>
#include <string.h>

#include "worker/device/cpu/cpu.h"
#include "worker/device/cpu/dot.h"

void KERNEL(optimizer_norms)(struct device *device, const struct optimizer_tensors *tensors)
{
    (void)device;
    for (int i = 0; i < tensors->count; i++) {
        const float *w = tensors->weights + tensors->offset[i];
        const float *g = tensors->grads + tensors->offset[i];
        tensors->norms[2 * i] = (float)dot(w, w, tensors->length[i]);
        tensors->norms[2 * i + 1] = (float)dot(g, g, tensors->length[i]);
    }
}

/* What gradient and decay are multiplied with. apex LARC: a tensor whose weights or gradient are
 * all zero (a BN beta at step 0) takes the gradient as it is, without decay. */
static void larc_scales(const struct optimizer_rule *rule, const float *norms, float *ret_grad,
                        float *ret_decay)
{
    const double weight = sqrt((double)norms[0]), grad = sqrt((double)norms[1]);
    const double decay = (double)rule->weight_decay;
    *ret_grad = 1;
    *ret_decay = rule->is_larc ? 0 : rule->weight_decay;
    if (!rule->is_larc || weight == 0 || grad == 0)
        return;
    double local = (double)rule->trust * weight / (grad + decay * weight + (double)rule->eps);
    if (rule->is_clip)
        local = fmin(local / (double)rule->lr, 1);
    *ret_grad = (float)local;
    *ret_decay = (float)(local * decay);
}

/* v = momentum v + g', with g' as scaled and decayed: the same bits wherever it is called. */
static inline float next_momentum(float momentum, float v, float change)
{
    return momentum * v + change;
}

/* v = momentum v + g';  w = w - lr v, or with Nesterov's momentum w - lr (g' + momentum v). */
void KERNEL(optimizer_update)(struct device *device, const struct optimizer_tensors *tensors)
{
    const struct optimizer_rule *rule = &((const struct cpu *)device)->rule;
    const float lr = rule->lr, momentum = rule->momentum;
    const int is_nesterov = rule->is_nesterov;
    for (int i = 0; i < tensors->count; i++) {
        if (tensors->is_frozen[i])
            continue;
        const size_t offset = tensors->offset[i];
        float *restrict w = tensors->weights + offset;
        float *restrict v = tensors->momentum + offset;
        const float *restrict g = tensors->grads + offset;
        float grad = 0, decay = 0;
        larc_scales(rule, tensors->norms + (ptrdiff_t)2 * i, &grad, &decay);
        for (size_t j = 0; j < tensors->length[i]; j++) {
            const float change = grad * g[j] + decay * w[j];
            v[j] = next_momentum(momentum, v[j], change);
            w[j] -= lr * (is_nesterov ? change + momentum * v[j] : v[j]);
        }
    }
}

/* Of a tensor the part that lies in the arena's elements [first, end): from, and how many. */
static size_t overlap(const struct optimizer_tensors *tensors, int i, size_t first, size_t end,
                      size_t *ret_from)
{
    const size_t begin = tensors->offset[i], until = begin + tensors->length[i];
    const size_t from = begin > first ? begin : first, to = until < end ? until : end;
    *ret_from = from;
    return to > from ? to - from : 0;
}

void KERNEL(optimizer_momentum)(struct device *device, const struct optimizer_tensors *tensors,
                                const float *held, size_t first, size_t count)
{
    const struct optimizer_rule *rule = &((const struct cpu *)device)->rule;
    const float momentum = rule->momentum;
    for (int i = 0; i < tensors->count; i++) {
        size_t from = 0;
        const size_t length = overlap(tensors, i, first, first + count, &from);
        if (length == 0)
            continue;
        const float *restrict w = tensors->weights + from;
        const float *restrict v = held + (from - first);
        float *restrict g = tensors->grads + from;
        float grad = 0, decay = 0;
        if (tensors->is_frozen[i]) {
            memcpy(g, v, length * sizeof(*g));
            continue;
        }
        larc_scales(rule, tensors->norms + (ptrdiff_t)2 * i, &grad, &decay);
        for (size_t j = 0; j < length; j++)
            g[j] = next_momentum(momentum, v[j], grad * g[j] + decay * w[j]);
    }
}

void KERNEL(optimizer_move)(struct device *device, const struct optimizer_tensors *tensors)
{
    const float lr = ((const struct cpu *)device)->rule.lr;
    for (int i = 0; i < tensors->count; i++) {
        if (tensors->is_frozen[i])
            continue;
        float *restrict w = tensors->weights + tensors->offset[i];
        const float *restrict v = tensors->grads + tensors->offset[i];
        for (size_t j = 0; j < tensors->length[i]; j++)
            w[j] -= lr * v[j];
    }
}
