/* cpu.h - what the files of the CPU back end share: the device itself and its operations. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_CPU_H
#define WORKER_DEVICE_CPU_CPU_H

#include "worker/device/cpu/conv3.h"
#include "worker/device/device.h"

struct dnnl_conv;
struct dnnl_engine;
struct dnnl_stream;

/* Working memory that primitives share, since they run one after the other. Grown by conv_create.
 */
struct cpu_scratch {
    float *memory;
    size_t bytes;
};

enum cpu_scratch_use {
    CPU_SCRATCHPAD,   /* oneDNN's */
    CPU_GRAD_BLOCKED, /* weight gradient in the primitive's layout */
    CPU_GRAD_MASTER,  /* and in ours, before it is added */
    CPU_OWN,          /* of our own convolutions */
};

struct cpu {
    struct device device; /* first: a struct device * is a struct cpu * */
    const struct cpu_isa *isa;
    int thread_count;
    int is_probe; /* takes no memory, only counts it (dnnl_conv_memory) */
    size_t held, peak;
    char description[160];
    struct dnnl_engine *engine;
    struct dnnl_stream *stream;
    struct cpu_scratch scratch[CONV_SHARED_MAX];
    struct optimizer_rule rule; /* of the updates that follow */
};

/* One instruction set: our kernels compiled for it. */
struct cpu_isa {
    const char *name; /* "plain", "avx2", "avx512", "avx512_bf16" */
    const struct device_ops *ops;
    const struct conv3_ops *group8, *winograd, *direct; /* NULL: oneDNN is faster */
};

/* The instruction sets that this processor can run, best first; ends with name NULL. Static. */
const struct cpu_isa *cpu_isa_list(void);
/* The one whose activations are bf16; NULL: this processor does not compute with them. Static. */
const struct cpu_isa *cpu_isa_bf16(void);

/* As device_cpu_create, with kernels of a given instruction set out of the list (tests). */
enum status cpu_create(const struct cpu_isa *isa, int thread_count, struct device **ret_device);

/* Makes it at least so large; contents are lost. */
void cpu_scratch_grow(struct cpu *cpu, enum cpu_scratch_use use, size_t bytes);
/* Host memory of a convolution, counted as the device's. bytes as taken. */
float *cpu_take(struct cpu *cpu, size_t bytes);
void cpu_give(struct cpu *cpu, float *memory, size_t bytes); /* NULL is fine */

/* cpu_conv.c */
enum status cpu_conv_create(struct device *device, const struct conv_shape *shape,
                            struct conv **ret_conv);
enum status cpu_conv_memory(struct device *device, const struct conv_shape *shape,
                            struct conv_memory *ret_memory);
void cpu_conv_destroy(struct conv *conv);
void cpu_conv_weights(struct conv *conv, const float *weights);
void cpu_conv_forward(struct conv *conv, const void *x, void *y);
void cpu_conv_backward_data(struct conv *conv, const void *dy, void *dx);
void cpu_conv_backward_weights(struct conv *conv, const void *x, const void *dy, float *dw,
                               int accumulate);

/* cpu.c: memory. */
const char *cpu_describe(struct device *device);
const char *cpu_address(struct device *device);
enum status cpu_allocate(struct device *device, size_t bytes, int *ret_fd, void **ret_memory);
void cpu_release(struct device *device, void *memory, size_t bytes, int fd);
void cpu_copy(struct device *device, void *to, const void *from, size_t bytes);
void cpu_zero(struct device *device, void *memory, size_t bytes);
void cpu_memory(struct device *device, struct device_memory *ret_memory);
enum status cpu_synchronize(struct device *device);
void cpu_destroy(struct device *device);
int cpu_images_ahead(struct device *device, void *to, const void *host, size_t bytes);
void cpu_tune(struct device *device, const char *folder);
void cpu_optimizer_rule(struct device *device, const struct optimizer_rule *rule);
/* It records nothing: a call costs less than what it does. */
enum status cpu_record_begin(struct device *device);
enum status cpu_record_end(struct device *device, struct recording **ret_recording);
void cpu_replay(struct device *device, struct recording *recording);
void cpu_recording_destroy(struct device *device, struct recording *recording);
uint64_t cpu_recordings_epoch(struct device *device);

/* dnnl_conv.c: oneDNN. */
enum status dnnl_conv_start(struct cpu *cpu);
void dnnl_conv_stop(struct cpu *cpu);
/* ERR_DEVICE for a shape that is none. */
enum status dnnl_conv_check(const struct conv_shape *shape);
enum status dnnl_conv_create(struct cpu *cpu, const struct conv_shape *shape,
                             struct dnnl_conv **ret_conv);
/* What create would take. */
enum status dnnl_conv_memory(const struct cpu *cpu, const struct conv_shape *shape,
                             struct conv_memory *ret_memory);
void dnnl_conv_destroy(struct dnnl_conv *conv);
void dnnl_conv_weights(struct dnnl_conv *conv, const float *weights);
void dnnl_conv_forward(struct dnnl_conv *conv, const void *x, void *y);
void dnnl_conv_backward_data(struct dnnl_conv *conv, const void *dy, void *dx);
void dnnl_conv_backward_weights(struct dnnl_conv *conv, const void *x, const void *dy, float *dw,
                                int accumulate);
void dnnl_conv_gemm(struct device *device, int trans_a, int trans_b, int m, int n, int k,
                    float alpha, const float *a, const float *b, float beta, float *c);

#endif
