/* cpu_conv.c - which convolution runs where: on our own kernels, or on oneDNN. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include "common/mem.h"

struct conv {
    struct cpu *cpu;
    struct dnnl_conv *dnnl; /* NULL: ops */
    const struct own_conv_method *method;
    const struct own_conv_ops *ops;
    struct own_conv own;
};

/* Sets conv's method and what it works on, and leaves ops NULL where that is oneDNN. */
static void conv_choose(struct conv *conv, const struct cpu *cpu, const struct conv_shape *shape)
{
    const struct {
        const struct own_conv_method *method;
        const struct own_conv_ops *ops;
    } ways[] = {{&group8_method, cpu->isa->group8},
                {&winograd_method, cpu->isa->winograd},
                {&direct_method, cpu->isa->direct},
                {&pointwise_method, cpu->isa->pointwise}};
    const int is_bf16 = cpu->device.ops->activation_bytes < sizeof(float);
    *conv = (struct conv){0};
    own_conv_init(&conv->own, shape, is_bf16);
    for (size_t i = 0; i < sizeof(ways) / sizeof(*ways) && conv->ops == NULL; i++)
        if (ways[i].ops != NULL && cpu->thread_count <= ways[i].method->threads_max &&
            ways[i].method->is_suited(&conv->own)) {
            conv->method = ways[i].method;
            conv->ops = ways[i].ops;
        }
}

static size_t sums_bytes(const struct conv *conv)
{
    return conv->method->sums_bytes == NULL ? 0 : conv->method->sums_bytes(&conv->own);
}

static void take_own(struct conv *conv)
{
    struct cpu *cpu = conv->cpu;
    const size_t bytes = conv->method->weight_bytes(&conv->own);
    conv->own.forward = cpu_take(cpu, bytes);
    conv->own.transposed = cpu_take(cpu, bytes);
    conv->own.sums = cpu_take(cpu, sums_bytes(conv));
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
    *ret_memory =
        (struct conv_memory){.own = 2 * conv.method->weight_bytes(&conv.own) + sums_bytes(&conv)};
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
        cpu_give(conv->cpu, conv->own.sums, sums_bytes(conv));
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

static size_t x_row_bytes(const struct conv *conv)
{
    const struct own_conv *own = &conv->own;
    return (size_t)own->height * (size_t)own->width * (size_t)own->channels *
           conv->cpu->device.ops->activation_bytes;
}

static size_t y_row_bytes(const struct conv *conv)
{
    const struct own_conv *own = &conv->own;
    return (size_t)own->out_height * (size_t)own->out_width * (size_t)own->out_channels *
           conv->cpu->device.ops->activation_bytes;
}

static void run_backward_weights(struct row_op *op, const struct row_band *band);

/* A pass in bands, to be filled in; NULL: it is done as a whole, now. */
static struct row_op *put(struct conv *conv,
                          void (*run)(struct row_op *op, const struct row_band *band))
{
    struct cpu *cpu = conv->cpu;
    if (conv->ops == NULL || (run == run_backward_weights && !conv->method->is_gradient_banded)) {
        cpu_rows_flush(cpu);
        return NULL;
    }
    struct row_op *op = cpu_rows_put(cpu, conv->own.rows);
    if (op == NULL)
        return NULL;
    op->run = run;
    op->conv = conv;
    op->row_bytes = x_row_bytes(conv) + y_row_bytes(conv);
    return op;
}

static struct own_conv band_of(const struct conv *conv, const struct row_band *band)
{
    struct own_conv own = conv->own;
    own.rows = band->rows;
    return own;
}

/* Where the band begins in a tensor like x, and in one like y. */
static void *at_x(const struct row_op *op, const void *x, const struct row_band *band)
{
    return cpu_rows_at(op, x, band, x_row_bytes(op->conv));
}

static void *at_y(const struct row_op *op, const void *y, const struct row_band *band)
{
    return cpu_rows_at(op, y, band, y_row_bytes(op->conv));
}

static void run_forward(struct row_op *op, const struct row_band *band)
{
    const struct own_conv own = band_of(op->conv, band);
    op->conv->ops->forward(&own, own_scratch(op->conv), at_x(op, op->x, band),
                           at_y(op, op->y, band));
}

void cpu_conv_forward(struct conv *conv, const void *x, void *y)
{
    struct row_op *op = put(conv, run_forward);
    if (op != NULL) {
        op->x = x;
        op->y = y;
    } else if (conv->dnnl != NULL) {
        dnnl_conv_forward(conv->dnnl, x, y);
    } else {
        conv->ops->forward(&conv->own, own_scratch(conv), x, y);
    }
}

static void run_backward_data(struct row_op *op, const struct row_band *band)
{
    const struct own_conv own = band_of(op->conv, band);
    op->conv->ops->backward_data(&own, own_scratch(op->conv), at_y(op, op->dy, band),
                                 at_x(op, op->y, band));
}

void cpu_conv_backward_data(struct conv *conv, const void *dy, void *dx)
{
    struct row_op *op = put(conv, run_backward_data);
    if (op != NULL) {
        op->dy = dy;
        op->y = dx;
    } else if (conv->dnnl != NULL) {
        dnnl_conv_backward_data(conv->dnnl, dy, dx);
    } else {
        conv->ops->backward_data(&conv->own, own_scratch(conv), dy, dx);
    }
}

static void run_backward_weights(struct row_op *op, const struct row_band *band)
{
    const struct own_conv own = band_of(op->conv, band);
    const struct own_gradient gradient = {op->dw, op->accumulate, band->is_first, band->is_last};
    op->conv->ops->backward_weights(&own, own_scratch(op->conv), at_x(op, op->x, band),
                                    at_y(op, op->dy, band), &gradient);
}

void cpu_conv_backward_weights(struct conv *conv, const void *x, const void *dy, float *dw,
                               int accumulate)
{
    struct row_op *op = put(conv, run_backward_weights);
    if (op != NULL) {
        op->x = x;
        op->dy = dy;
        op->dw = dw;
        op->accumulate = accumulate;
    } else if (conv->dnnl != NULL) {
        dnnl_conv_backward_weights(conv->dnnl, x, dy, dw, accumulate);
    } else {
        const struct own_gradient whole = {dw, accumulate, 1, 1};
        conv->ops->backward_weights(&conv->own, own_scratch(conv), x, dy, &whole);
    }
}
