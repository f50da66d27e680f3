/* cpu.h - what the files of the CPU back end share: the device itself and its operations. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_CPU_H
#define WORKER_DEVICE_CPU_CPU_H

#include "worker/device/cpu/own_conv.h"
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

/* Rows of every tensor of an operation that are worked on at a time (cpu_rows.c). */
struct row_band {
    int first, rows;
    int is_first, is_last; /* of those there are */
};

/* An operation that was put off: what run needs of it. */
struct row_op {
    void (*run)(struct row_op *op, const struct row_band *band);
    struct cpu *cpu;
    size_t row_bytes; /* that it reads and writes, about */
    struct conv *conv;
    const void *x, *dy;
    void *y; /* or dx */
    float *dw;
    int accumulate;
    const float *gamma, *reduced;
    double count;
    struct bn_sums bn_sums;
    struct bn_apply apply;
    struct bn_backward backward;
    float *sums;   /* where the sums of all rows go */
    double *total; /* of those so far */
};

enum { ROW_OPS_MAX = 8, ROW_SUMS_MAX = 2, ROW_CHANNELS_MAX = 4096 };

/* Between rows_begin and rows_end. */
struct row_queue {
    int rows;      /* of the operations; 0: nothing is put off */
    int is_broken; /* something was done before rows_end: tensors that pass are whole after all */
    int count, sums_count;
    const void *passing[ROWS_PASSING_MAX];
    struct row_op ops[ROW_OPS_MAX];
    double totals[ROW_SUMS_MAX][2 * ROW_CHANNELS_MAX];
    float part[2 * ROW_CHANNELS_MAX]; /* sums of one band */
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
    struct row_queue *queue;    /* owned */
};

/* The kernels of operations that may be put off; contracts are those of device_ops. */
struct row_kernels {
    void (*bn_sums)(struct device *device, const struct bn_sums *args);
    void (*bn_apply)(struct device *device, const struct bn_apply *args);
    void (*bn_backward_sums)(struct device *device, const struct bn_backward *args);
    void (*bn_backward_apply)(struct device *device, const struct bn_backward *args,
                              const float *gamma, const float *sums, double count, void *dx);
    void (*row_scale_backward)(struct device *device, const struct bn_backward *args, float *ds);
};

/* One instruction set: our kernels compiled for it. */
struct cpu_isa {
    const char *name; /* "plain", "avx2", "avx512", "avx512_bf16" */
    const struct device_ops *ops;
    const struct row_kernels *rows;
    const struct own_conv_ops *group8, *winograd, *direct, *pointwise; /* NULL: oneDNN is
                                                                        * faster */
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

/* cpu_rows.c */
void cpu_rows_begin(struct device *device, int rows, const void *const passing[ROWS_PASSING_MAX]);
void cpu_rows_end(struct device *device);
/* An operation of so many rows, to be filled in; NULL: it is to be done now, and all that was put
 * off has been. */
struct row_op *cpu_rows_put(struct cpu *cpu, int rows);
/* Does what was put off before what is to be done now. */
void cpu_rows_flush(struct cpu *cpu);
/* Where the band begins in a tensor of so many bytes a row; NULL for NULL. */
void *cpu_rows_at(const struct row_op *op, const void *tensor, const struct row_band *band,
                  size_t row_bytes);
void cpu_bn_sums(struct device *device, const struct bn_sums *args);
void cpu_bn_apply(struct device *device, const struct bn_apply *args);
void cpu_bn_backward_sums(struct device *device, const struct bn_backward *args);
void cpu_bn_backward_apply(struct device *device, const struct bn_backward *args,
                           const float *gamma, const float *sums, double count, void *dx);
void cpu_row_scale_backward(struct device *device, const struct bn_backward *args, float *ds);

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
