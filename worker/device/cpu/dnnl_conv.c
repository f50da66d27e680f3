/* dnnl_conv.c - convolutions and matrix products through oneDNN 2.x; all of oneDNN is in this file.
 *
 * Activations are nhwc as they are; only weights go into the layout that a primitive likes best
 * (format `any`), once a step. With `any` for activations too, oneDNN picks blocks of 8 channels
 * for RegNet's widths and converts between layers: 3 to 10 times slower by block. A primitive is
 * created once for its shape; running it allocates nothing, its working memory is the device's (a
 * matrix product packs into memory of its own).
 *
 * Matrix products of oneDNN 2.6 whose left side is transposed, which weight gradients are, keep
 * data below the stack's red zone: a signal handler that runs on that stack meanwhile corrupts the
 * heap (2026-11-30, in 7 of 8 runs of a program with nothing else in it). Threads that compute
 * block signals (common/thread.h), and the main thread of a worker has no handlers: its signals
 * come by a descriptor. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include <string.h>

#include <oneapi/dnnl/dnnl.h>

#include "common/check.h"
#include "common/mem.h"

/* Of libgomp, on which Debian's oneDNN runs; declared here because clang brings another omp.h. */
void omp_set_num_threads(int count);

enum { PASS_MEMORY_MAX = 3 };

/* A primitive with its memory objects: what it reads and writes, then its scratchpad. */
struct pass {
    dnnl_primitive_t primitive;
    dnnl_memory_t memory[PASS_MEMORY_MAX];
    dnnl_memory_t scratchpad;
    dnnl_exec_arg_t args[PASS_MEMORY_MAX + 1];
    int memory_count;
};

struct dnnl_conv {
    struct cpu *cpu;
    size_t weight_count;
    size_t forward_bytes, data_bytes;     /* of the weights that follow */
    void *forward_weights, *data_weights; /* in the primitives' layouts; data may be forward */
    struct pass forward, data, weights;
    struct pass to_forward, to_data; /* reorders from the master layout */
    struct pass from_weights;        /* and to it; none: `weights` writes that, is_product */
};

/* The tensors of a convolution as oneDNN describes them: activations and the weights they meet as
 * the device keeps activations, the weights' gradient and master in fp32. */
struct conv_geometry {
    dnnl_memory_desc_t src, dst, weights, gradient, master;
    dnnl_dims_t stride, padding_low, padding_high;
};

static enum status checked(dnnl_status_t result, const char *what, const struct conv_shape *shape)
{
    if (result == dnnl_success)
        return OK;
    const char *words = result == dnnl_unimplemented   ? "no implementation for this processor"
                        : result == dnnl_out_of_memory ? "out of memory"
                                                       : "invalid arguments";
    return fail(
        ERR_DEVICE,
        "cpu: oneDNN: %s of a convolution rows=%d %dx%d channels=%d->%d kernel=%d stride=%d "
        "groups=%d: %s (error %d)",
        what, shape->rows, shape->height, shape->width, shape->in_channels, shape->out_channels,
        shape->kernel, shape->stride, shape->groups, words, (int)result);
}

/* oneDNN keeps its thread count per calling thread, and the device may move to another thread
 * between creation and use. */
static void enter(const struct cpu *cpu)
{
    omp_set_num_threads(cpu->thread_count);
}

static void pass_done(struct pass *pass)
{
    for (int i = 0; i < pass->memory_count; i++)
        dnnl_memory_destroy(pass->memory[i]);
    if (pass->scratchpad != NULL)
        dnnl_memory_destroy(pass->scratchpad);
    if (pass->primitive != NULL)
        dnnl_primitive_destroy(pass->primitive);
}

/* Makes the primitive and its memory objects for the named arguments; desc stays the caller's. */
static dnnl_status_t pass_init(struct pass *pass, struct cpu *cpu, const_dnnl_primitive_desc_t desc,
                               int count, const int *arguments)
{
    dnnl_status_t result =
        cpu->is_probe ? dnnl_success : dnnl_primitive_create(&pass->primitive, desc);
    for (int i = 0; i < count && result == dnnl_success; i++) {
        const dnnl_memory_desc_t *md =
            dnnl_primitive_desc_query_md(desc, dnnl_query_exec_arg_md, arguments[i]);
        result = dnnl_memory_create(&pass->memory[i], md, cpu->engine, DNNL_MEMORY_NONE);
        if (result == dnnl_success)
            pass->memory_count++;
        pass->args[i] = (dnnl_exec_arg_t){arguments[i], pass->memory[i]};
    }
    if (result != dnnl_success)
        return result;
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, dnnl_query_scratchpad_md, 0);
    cpu_scratch_grow(cpu, CPU_SCRATCHPAD, dnnl_memory_desc_get_size(md));
    result = dnnl_memory_create(&pass->scratchpad, md, cpu->engine, DNNL_MEMORY_NONE);
    pass->args[count] = (dnnl_exec_arg_t){DNNL_ARG_SCRATCHPAD, pass->scratchpad};
    return result;
}

/* Handles in the order of pass_init's arguments. A primitive that was created runs; anything else
 * is our bug. */
static void pass_run(const struct pass *pass, const struct cpu *cpu, const void *const *handles)
{
    enter(cpu);
    for (int i = 0; i < pass->memory_count; i++)
        CHECK(dnnl_memory_set_data_handle(pass->memory[i], (void *)handles[i]) == dnnl_success);
    CHECK(dnnl_memory_set_data_handle(pass->scratchpad, cpu->scratch[CPU_SCRATCHPAD].memory) ==
          dnnl_success);
    CHECK(dnnl_primitive_execute(pass->primitive, cpu->stream, pass->memory_count + 1,
                                 pass->args) == dnnl_success);
}

static dnnl_status_t attr_create(dnnl_primitive_attr_t *ret_attr)
{
    dnnl_status_t result = dnnl_primitive_attr_create(ret_attr);
    return result != dnnl_success
               ? result
               : dnnl_primitive_attr_set_scratchpad_mode(*ret_attr, dnnl_scratchpad_mode_user);
}

static dnnl_status_t reorder_init(struct pass *pass, struct cpu *cpu,
                                  const dnnl_memory_desc_t *from, const dnnl_memory_desc_t *to)
{
    static const int arguments[] = {DNNL_ARG_FROM, DNNL_ARG_TO};
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t result = attr_create(&attr);
    if (result == dnnl_success)
        result =
            dnnl_reorder_primitive_desc_create(&desc, from, cpu->engine, to, cpu->engine, attr);
    if (result == dnnl_success)
        result = pass_init(pass, cpu, desc, 2, arguments);
    dnnl_primitive_desc_destroy(desc);
    dnnl_primitive_attr_destroy(attr);
    return result;
}

static int output_size(int input, int stride)
{
    return (input + stride - 1) / stride;
}

static dnnl_data_type_t value_type(const struct cpu *cpu)
{
    return cpu->device.ops->activation_bytes == sizeof(float) ? dnnl_f32 : dnnl_bf16;
}

static dnnl_status_t geometry_init(struct conv_geometry *geometry, const struct cpu *cpu,
                                   const struct conv_shape *shape)
{
    const dnnl_data_type_t type = value_type(cpu);
    const int out_height = output_size(shape->height, shape->stride);
    const int out_width = output_size(shape->width, shape->stride);
    const int low = shape->kernel / 2;
    const int in_size[2] = {shape->height, shape->width}, out_size[2] = {out_height, out_width};
    for (int i = 0; i < 2; i++) {
        const int reach = (out_size[i] - 1) * shape->stride + shape->kernel - in_size[i] - low;
        geometry->stride[i] = shape->stride;
        geometry->padding_low[i] = low;
        geometry->padding_high[i] = reach > 0 ? reach : 0;
    }
    const dnnl_dims_t src = {shape->rows, shape->in_channels, shape->height, shape->width};
    const dnnl_dims_t dst = {shape->rows, shape->out_channels, out_height, out_width};
    const dnnl_dims_t grouped = {shape->groups, shape->out_channels / shape->groups,
                                 shape->in_channels / shape->groups, shape->kernel, shape->kernel};
    const int is_grouped = shape->groups > 1;
    const dnnl_dim_t *weights = is_grouped ? grouped : grouped + 1;
    const int ndims = is_grouped ? 5 : 4;
    const dnnl_format_tag_t master = is_grouped ? dnnl_goihw : dnnl_oihw;
    dnnl_status_t result = dnnl_memory_desc_init_by_tag(&geometry->src, 4, src, type, dnnl_nhwc);
    if (result == dnnl_success)
        result = dnnl_memory_desc_init_by_tag(&geometry->dst, 4, dst, type, dnnl_nhwc);
    if (result == dnnl_success)
        result = dnnl_memory_desc_init_by_tag(&geometry->weights, ndims, weights, type,
                                              dnnl_format_tag_any);
    if (result == dnnl_success)
        result = dnnl_memory_desc_init_by_tag(&geometry->gradient, ndims, weights, dnnl_f32,
                                              dnnl_format_tag_any);
    if (result == dnnl_success)
        result = dnnl_memory_desc_init_by_tag(&geometry->master, ndims, weights, dnnl_f32, master);
    return result;
}

/* The descriptor of one direction; hint is the forward descriptor, NULL for forward itself. */
static dnnl_status_t desc_create(dnnl_primitive_desc_t *ret_desc, const struct cpu *cpu,
                                 const struct conv_geometry *g, dnnl_prop_kind_t kind,
                                 const_dnnl_primitive_desc_t hint)
{
    const dnnl_alg_kind_t direct = dnnl_convolution_direct;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t result;
    if (kind == dnnl_forward_training)
        result =
            dnnl_convolution_forward_desc_init(&desc, kind, direct, &g->src, &g->weights, NULL,
                                               &g->dst, g->stride, g->padding_low, g->padding_high);
    else if (kind == dnnl_backward_data)
        result =
            dnnl_convolution_backward_data_desc_init(&desc, direct, &g->src, &g->weights, &g->dst,
                                                     g->stride, g->padding_low, g->padding_high);
    else
        result = dnnl_convolution_backward_weights_desc_init(&desc, direct, &g->src, &g->gradient,
                                                             NULL, &g->dst, g->stride,
                                                             g->padding_low, g->padding_high);
    if (result == dnnl_success)
        result = attr_create(&attr);
    if (result == dnnl_success)
        result = dnnl_primitive_desc_create(ret_desc, &desc, attr, cpu->engine, hint);
    dnnl_primitive_attr_destroy(attr);
    return result;
}

static dnnl_status_t forward_init(struct dnnl_conv *conv, const struct conv_geometry *geometry,
                                  const_dnnl_primitive_desc_t desc)
{
    static const int arguments[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST};
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    conv->forward_bytes = dnnl_memory_desc_get_size(md);
    conv->forward_weights = cpu_take(conv->cpu, conv->forward_bytes);
    dnnl_status_t result = reorder_init(&conv->to_forward, conv->cpu, &geometry->master, md);
    return result != dnnl_success ? result
                                  : pass_init(&conv->forward, conv->cpu, desc, 3, arguments);
}

static dnnl_status_t data_init(struct dnnl_conv *conv, const struct conv_geometry *geometry,
                               const_dnnl_primitive_desc_t forward)
{
    static const int arguments[] = {DNNL_ARG_DIFF_DST, DNNL_ARG_WEIGHTS, DNNL_ARG_DIFF_SRC};
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t result = desc_create(&desc, conv->cpu, geometry, dnnl_backward_data, forward);
    if (result != dnnl_success)
        return result;
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    if (dnnl_memory_desc_equal(md, dnnl_primitive_desc_query_md(forward, dnnl_query_weights_md, 0)))
        conv->data_weights = conv->forward_weights;
    else {
        conv->data_bytes = dnnl_memory_desc_get_size(md);
        conv->data_weights = cpu_take(conv->cpu, conv->data_bytes);
        result = reorder_init(&conv->to_data, conv->cpu, &geometry->master, md);
    }
    if (result == dnnl_success)
        result = pass_init(&conv->data, conv->cpu, desc, 3, arguments);
    dnnl_primitive_desc_destroy(desc);
    return result;
}

static dnnl_status_t weights_init(struct dnnl_conv *conv, const struct conv_geometry *geometry,
                                  const_dnnl_primitive_desc_t forward)
{
    static const int arguments[] = {DNNL_ARG_SRC, DNNL_ARG_DIFF_DST, DNNL_ARG_DIFF_WEIGHTS};
    struct cpu *cpu = conv->cpu;
    dnnl_primitive_desc_t desc = NULL;
    dnnl_status_t result = desc_create(&desc, cpu, geometry, dnnl_backward_weights, forward);
    if (result != dnnl_success)
        return result;
    const dnnl_memory_desc_t *md =
        dnnl_primitive_desc_query_md(desc, dnnl_query_diff_weights_md, 0);
    cpu_scratch_grow(cpu, CPU_GRAD_BLOCKED, dnnl_memory_desc_get_size(md));
    cpu_scratch_grow(cpu, CPU_GRAD_MASTER, dnnl_memory_desc_get_size(&geometry->master));
    result = reorder_init(&conv->from_weights, cpu, md, &geometry->master);
    if (result == dnnl_success)
        result = pass_init(&conv->weights, cpu, desc, 3, arguments);
    dnnl_primitive_desc_destroy(desc);
    return result;
}

/* The weight gradient of a plain 1x1 convolution is a matrix product like any other, which oneDNN
 * 2.6 does some tenth faster as such, and leaves it in the master layout. */
static int is_product(const struct conv_shape *shape)
{
    return shape->kernel == 1 && shape->stride == 1 && shape->groups == 1;
}

/* Of the implementations on offer the one by packed panels; on an AVX-512 machine it is not the
 * first, and is up to a fifth faster (docs/benchmarks.md). */
static dnnl_status_t matmul_choose(dnnl_primitive_desc_t *ret_desc, const struct cpu *cpu,
                                   const dnnl_matmul_desc_t *desc, dnnl_primitive_attr_t attr)
{
    dnnl_primitive_desc_iterator_t iterator = NULL;
    dnnl_status_t result =
        dnnl_primitive_desc_iterator_create(&iterator, desc, attr, cpu->engine, NULL);
    for (; result == dnnl_success; result = dnnl_primitive_desc_iterator_next(iterator)) {
        const char *name = "";
        dnnl_primitive_desc_t found = dnnl_primitive_desc_iterator_fetch(iterator);
        dnnl_primitive_desc_query(found, dnnl_query_impl_info_str, 0, &name);
        if (*ret_desc == NULL || strcmp(name, "gemm:jit") == 0) {
            dnnl_primitive_desc_destroy(*ret_desc);
            *ret_desc = found;
        } else {
            dnnl_primitive_desc_destroy(found);
        }
    }
    dnnl_primitive_desc_iterator_destroy(iterator);
    return *ret_desc != NULL ? dnnl_success : result;
}

/* dw [out][in] = dy' x, over all pixels. */
static dnnl_status_t product_init(struct dnnl_conv *conv, const struct conv_shape *shape)
{
    static const int arguments[] = {DNNL_ARG_WEIGHTS, DNNL_ARG_SRC, DNNL_ARG_DST};
    struct cpu *cpu = conv->cpu;
    const dnnl_dim_t pixels = (dnnl_dim_t)shape->rows * shape->height * shape->width;
    const dnnl_dim_t in = shape->in_channels, out = shape->out_channels;
    const dnnl_dims_t dy_dims = {out, pixels}, x_dims = {pixels, in}, dw_dims = {out, in};
    const dnnl_dims_t dy_strides = {1, out}, x_strides = {in, 1}, dw_strides = {in, 1};
    dnnl_memory_desc_t dy, x, dw;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t chosen = NULL;
    dnnl_status_t result =
        dnnl_memory_desc_init_by_strides(&dy, 2, dy_dims, value_type(cpu), dy_strides);
    if (result == dnnl_success)
        result = dnnl_memory_desc_init_by_strides(&x, 2, x_dims, value_type(cpu), x_strides);
    if (result == dnnl_success)
        result = dnnl_memory_desc_init_by_strides(&dw, 2, dw_dims, dnnl_f32, dw_strides);
    if (result == dnnl_success)
        result = dnnl_matmul_desc_init(&desc, &dy, &x, NULL, &dw);
    if (result == dnnl_success)
        result = attr_create(&attr);
    if (result == dnnl_success)
        result = matmul_choose(&chosen, cpu, &desc, attr);
    if (result == dnnl_success)
        result = pass_init(&conv->weights, cpu, chosen, 3, arguments);
    cpu_scratch_grow(cpu, CPU_GRAD_MASTER, dnnl_memory_desc_get_size(&dw));
    dnnl_primitive_desc_destroy(chosen);
    dnnl_primitive_attr_destroy(attr);
    return result;
}

static enum status conv_build(struct dnnl_conv *conv, const struct conv_shape *shape)
{
    struct conv_geometry geometry;
    dnnl_primitive_desc_t forward = NULL;
    enter(conv->cpu);
    TRY(checked(geometry_init(&geometry, conv->cpu, shape), "layout", shape));
    TRY(checked(desc_create(&forward, conv->cpu, &geometry, dnnl_forward_training, NULL),
                "forward pass", shape));
    enum status status = checked(forward_init(conv, &geometry, forward), "forward pass", shape);
    if (status == OK && shape->needs_input_gradient)
        status = checked(data_init(conv, &geometry, forward), "data gradient", shape);
    if (status == OK)
        status = checked(is_product(shape) ? product_init(conv, shape)
                                           : weights_init(conv, &geometry, forward),
                         "weight gradient", shape);
    dnnl_primitive_desc_destroy(forward);
    return status;
}

static void passes_done(struct dnnl_conv *conv)
{
    struct pass *const passes[] = {&conv->forward,    &conv->data,    &conv->weights,
                                   &conv->to_forward, &conv->to_data, &conv->from_weights};
    for (size_t i = 0; i < sizeof(passes) / sizeof(*passes); i++)
        pass_done(passes[i]);
}

enum status dnnl_conv_check(const struct conv_shape *shape)
{
    const int is_possible =
        shape->rows > 0 && shape->height > 0 && shape->width > 0 && shape->in_channels > 0 &&
        shape->out_channels > 0 && shape->groups > 0 &&
        (shape->kernel == 1 || shape->kernel == 3 || shape->kernel == 7) &&
        (shape->stride == 1 || shape->stride == 2) && shape->in_channels % shape->groups == 0 &&
        shape->out_channels % shape->groups == 0;
    return checked(is_possible ? dnnl_success : dnnl_invalid_arguments, "shape", shape);
}

enum status dnnl_conv_create(struct cpu *cpu, const struct conv_shape *shape,
                             struct dnnl_conv **ret_conv)
{
    struct dnnl_conv *conv = mem_zero(sizeof(*conv));
    conv->cpu = cpu;
    conv->weight_count = (size_t)shape->out_channels * (size_t)shape->in_channels /
                         (size_t)shape->groups * (size_t)shape->kernel * (size_t)shape->kernel;
    enum status status = conv_build(conv, shape);
    if (status != OK) {
        dnnl_conv_destroy(conv);
        return status;
    }
    *ret_conv = conv;
    return OK;
}

/* Descriptors alone say how large everything will be. */
enum status dnnl_conv_memory(const struct cpu *cpu, const struct conv_shape *shape,
                             struct conv_memory *ret_memory)
{
    struct cpu probe = *cpu;
    struct dnnl_conv conv = {.cpu = &probe};
    probe.is_probe = 1;
    for (int i = 0; i < CONV_SHARED_MAX; i++)
        probe.scratch[i] = (struct cpu_scratch){0};
    const enum status status = conv_build(&conv, shape);
    if (status == OK) {
        ret_memory->own = conv.forward_bytes + conv.data_bytes;
        for (int i = 0; i < CONV_SHARED_MAX; i++)
            ret_memory->shared[i] = probe.scratch[i].bytes;
    }
    passes_done(&conv);
    return status;
}

void dnnl_conv_destroy(struct dnnl_conv *conv)
{
    if (conv == NULL)
        return;
    passes_done(conv);
    if (conv->data_weights != conv->forward_weights)
        cpu_give(conv->cpu, conv->data_weights, conv->data_bytes);
    cpu_give(conv->cpu, conv->forward_weights, conv->forward_bytes);
    mem_free(conv);
}

void dnnl_conv_weights(struct dnnl_conv *conv, const float *weights)
{
    pass_run(&conv->to_forward, conv->cpu, (const void *[]){weights, conv->forward_weights});
    if (conv->to_data.primitive != NULL)
        pass_run(&conv->to_data, conv->cpu, (const void *[]){weights, conv->data_weights});
}

void dnnl_conv_forward(struct dnnl_conv *conv, const void *x, void *y)
{
    pass_run(&conv->forward, conv->cpu, (const void *[]){x, conv->forward_weights, y});
}

void dnnl_conv_backward_data(struct dnnl_conv *conv, const void *dy, void *dx)
{
    CHECK(conv->data.primitive != NULL); /* needs_input_gradient was 0 */
    pass_run(&conv->data, conv->cpu, (const void *[]){dy, conv->data_weights, dx});
}

void dnnl_conv_backward_weights(struct dnnl_conv *conv, const void *x, const void *dy, float *dw,
                                int accumulate)
{
    const struct cpu *cpu = conv->cpu;
    float *master = accumulate ? cpu->scratch[CPU_GRAD_MASTER].memory : dw;
    float *blocked = cpu->scratch[CPU_GRAD_BLOCKED].memory;
    if (conv->from_weights.primitive == NULL) {
        pass_run(&conv->weights, cpu, (const void *[]){x, dy, master});
    } else {
        pass_run(&conv->weights, cpu, (const void *[]){x, dy, blocked});
        pass_run(&conv->from_weights, cpu, (const void *[]){blocked, master});
    }
    for (size_t i = 0; i < conv->weight_count && accumulate; i++)
        dw[i] += master[i];
}

void dnnl_conv_gemm(struct device *device, int trans_a, int trans_b, int m, int n, int k,
                    float alpha, const float *a, const float *b, float beta, float *c)
{
    enter((const struct cpu *)device);
    CHECK(dnnl_sgemm(trans_a ? 'T' : 'N', trans_b ? 'T' : 'N', m, n, k, alpha, a, trans_a ? m : k,
                     b, trans_b ? k : n, beta, c, n) == dnnl_success);
}

enum status dnnl_conv_start(struct cpu *cpu)
{
    dnnl_status_t result = dnnl_engine_create(&cpu->engine, dnnl_cpu, 0);
    if (result == dnnl_success)
        result = dnnl_stream_create(&cpu->stream, cpu->engine, dnnl_stream_default_flags);
    if (result != dnnl_success)
        return fail(ERR_DEVICE, "cpu: oneDNN does not start (error %d); is libdnnl 2.x installed?",
                    (int)result);
    return OK;
}

void dnnl_conv_stop(struct cpu *cpu)
{
    dnnl_stream_destroy(cpu->stream);
    dnnl_engine_destroy(cpu->engine);
}
