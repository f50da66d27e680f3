/* cpu_conv.c - which convolution runs where: groups of eight on our own kernels, others on oneDNN.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include "common/mem.h"

/* Our own kernels run on one thread and take about half the time of oneDNN there, so they should be
 * about even on two (not measured). */
enum { GROUP8_THREADS_MAX = 2 };

struct conv {
    struct cpu *cpu;
    struct dnnl_conv *dnnl; /* NULL: group8 */
    struct group8 group8;
};

static int is_group8(const struct cpu *cpu, const struct conv_shape *shape)
{
    return cpu->isa->group8 != NULL && cpu->thread_count <= GROUP8_THREADS_MAX &&
           group8_is_suited(shape);
}

static int is_bf16(const struct cpu *cpu)
{
    return cpu->device.ops->activation_bytes < sizeof(float);
}

static void take_group8(struct conv *conv)
{
    struct cpu *cpu = conv->cpu;
    const size_t bytes = group8_weight_bytes(&conv->group8);
    conv->group8.forward = cpu_take(cpu, bytes);
    conv->group8.transposed = cpu_take(cpu, bytes);
    cpu_scratch_grow(cpu, CPU_LINES, group8_lines_bytes(&conv->group8));
}

enum status cpu_conv_create(struct device *device, const struct conv_shape *shape,
                            struct conv **ret_conv)
{
    struct cpu *cpu = (struct cpu *)device;
    TRY(dnnl_conv_check(shape));
    struct conv *conv = mem_zero(sizeof(*conv));
    conv->cpu = cpu;
    if (is_group8(cpu, shape)) {
        group8_init(&conv->group8, shape, is_bf16(cpu));
        take_group8(conv);
    } else {
        enum status status = dnnl_conv_create(cpu, shape, &conv->dnnl);
        if (status != OK) {
            mem_free(conv);
            return status;
        }
    }
    *ret_conv = conv;
    return OK;
}

enum status cpu_conv_memory(struct device *device, const struct conv_shape *shape,
                            struct conv_memory *ret_memory)
{
    const struct cpu *cpu = (const struct cpu *)device;
    struct group8 group8;
    TRY(dnnl_conv_check(shape));
    if (!is_group8(cpu, shape))
        return dnnl_conv_memory(cpu, shape, ret_memory);
    group8_init(&group8, shape, is_bf16(cpu));
    *ret_memory = (struct conv_memory){.own = 2 * group8_weight_bytes(&group8)};
    ret_memory->shared[CPU_LINES] = group8_lines_bytes(&group8);
    return OK;
}

void cpu_conv_destroy(struct conv *conv)
{
    if (conv == NULL)
        return;
    if (conv->dnnl == NULL) {
        const size_t bytes = group8_weight_bytes(&conv->group8);
        cpu_give(conv->cpu, conv->group8.forward, bytes);
        cpu_give(conv->cpu, conv->group8.transposed, bytes);
    }
    dnnl_conv_destroy(conv->dnnl);
    mem_free(conv);
}

void cpu_conv_weights(struct conv *conv, const float *weights)
{
    if (conv->dnnl != NULL)
        dnnl_conv_weights(conv->dnnl, weights);
    else
        group8_weights(&conv->group8, weights);
}

void cpu_conv_forward(struct conv *conv, const void *x, void *y)
{
    if (conv->dnnl != NULL)
        dnnl_conv_forward(conv->dnnl, x, y);
    else
        conv->cpu->isa->group8->forward(&conv->group8, conv->cpu->scratch[CPU_LINES].memory, x, y);
}

void cpu_conv_backward_data(struct conv *conv, const void *dy, void *dx)
{
    if (conv->dnnl != NULL)
        dnnl_conv_backward_data(conv->dnnl, dy, dx);
    else
        conv->cpu->isa->group8->backward_data(&conv->group8, conv->cpu->scratch[CPU_LINES].memory,
                                              dy, dx);
}

void cpu_conv_backward_weights(struct conv *conv, const void *x, const void *dy, float *dw,
                               int accumulate)
{
    if (conv->dnnl != NULL)
        dnnl_conv_backward_weights(conv->dnnl, x, dy, dw, accumulate);
    else
        conv->cpu->isa->group8->backward_weights(
            &conv->group8, conv->cpu->scratch[CPU_LINES].memory, x, dy, dw, accumulate);
}
