/* cpu_conv.c - which convolution runs where: 3x3 in groups on our own kernels, others on oneDNN.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include "common/mem.h"

struct conv {
    struct cpu *cpu;
    struct dnnl_conv *dnnl; /* NULL: ops */
    const struct conv3_method *method;
    const struct conv3_ops *ops;
    struct conv3 own;
};

/* Sets conv's method and what it works on, and leaves ops NULL where that is oneDNN. */
static void conv_choose(struct conv *conv, const struct cpu *cpu, const struct conv_shape *shape)
{
    const struct {
        const struct conv3_method *method;
        const struct conv3_ops *ops;
    } ways[] = {{&group8_method, cpu->isa->group8},
                {&winograd_method, cpu->isa->winograd},
                {&direct_method, cpu->isa->direct}};
    const int is_bf16 = cpu->device.ops->activation_bytes < sizeof(float);
    *conv = (struct conv){0};
    if (!conv3_init(&conv->own, shape, is_bf16))
        return;
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways) && conv->ops == NULL; i++)
        if (ways[i].ops != NULL && cpu->thread_count <= ways[i].method->threads_max &&
            ways[i].method->is_suited(&conv->own)) {
            conv->method = ways[i].method;
            conv->ops = ways[i].ops;
        }
}

static void take_own(struct conv *conv)
{
    struct cpu *cpu = conv->cpu;
    const size_t bytes = conv->method->weight_bytes(&conv->own);
    conv->own.forward = cpu_take(cpu, bytes);
    conv->own.transposed = cpu_take(cpu, bytes);
    cpu_scratch_grow(cpu, CPU_OWN, conv->method->scratch_bytes(&conv->own));
}

enum status cpu_conv_create(struct device *device, const struct conv_shape *shape,
                            struct conv **ret_conv)
{
    struct cpu *cpu = (struct cpu *)device;
    struct conv chosen;
    TRY(dnnl_conv_check(shape));
    conv_choose(&chosen, cpu, shape);
    chosen.cpu = cpu;
    if (chosen.ops != NULL)
        take_own(&chosen);
    else
        TRY(dnnl_conv_create(cpu, shape, &chosen.dnnl));
    *ret_conv = mem_zero(sizeof(**ret_conv));
    **ret_conv = chosen;
    return OK;
}

enum status cpu_conv_memory(struct device *device, const struct conv_shape *shape,
                            struct conv_memory *ret_memory)
{
    const struct cpu *cpu = (const struct cpu *)device;
    struct conv conv;
    TRY(dnnl_conv_check(shape));
    conv_choose(&conv, cpu, shape);
    if (conv.ops == NULL)
        return dnnl_conv_memory(cpu, shape, ret_memory);
    *ret_memory = (struct conv_memory){.own = 2 * conv.method->weight_bytes(&conv.own)};
    ret_memory->shared[CPU_OWN] = conv.method->scratch_bytes(&conv.own);
    return OK;
}

void cpu_conv_destroy(struct conv *conv)
{
    if (conv == NULL)
        return;
    if (conv->ops != NULL) {
        const size_t bytes = conv->method->weight_bytes(&conv->own);
        cpu_give(conv->cpu, conv->own.forward, bytes);
        cpu_give(conv->cpu, conv->own.transposed, bytes);
    }
    dnnl_conv_destroy(conv->dnnl);
    mem_free(conv);
}

static float *own_scratch(const struct conv *conv)
{
    return conv->cpu->scratch[CPU_OWN].memory;
}

void cpu_conv_weights(struct conv *conv, const float *weights)
{
    if (conv->dnnl != NULL)
        dnnl_conv_weights(conv->dnnl, weights);
    else
        conv->ops->weights(&conv->own, weights);
}

void cpu_conv_forward(struct conv *conv, const void *x, void *y)
{
    if (conv->dnnl != NULL)
        dnnl_conv_forward(conv->dnnl, x, y);
    else
        conv->ops->forward(&conv->own, own_scratch(conv), x, y);
}

void cpu_conv_backward_data(struct conv *conv, const void *dy, void *dx)
{
    if (conv->dnnl != NULL)
        dnnl_conv_backward_data(conv->dnnl, dy, dx);
    else
        conv->ops->backward_data(&conv->own, own_scratch(conv), dy, dx);
}

void cpu_conv_backward_weights(struct conv *conv, const void *x, const void *dy, float *dw,
                               int accumulate)
{
    if (conv->dnnl != NULL)
        dnnl_conv_backward_weights(conv->dnnl, x, dy, dw, accumulate);
    else
        conv->ops->backward_weights(&conv->own, own_scratch(conv), x, dy, dw, accumulate);
}
