/* kernels.h - the names of our own kernels for one instruction set.
 *
 * Every kernel_*.c and cpu_ops.c is compiled once per instruction set with CPU_ISA set to its name
 * (plain, avx2, avx512, avx512_bf16), and KERNEL(bn_sums) is then bn_sums_avx512. The contracts are
 * those of device_ops. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_KERNELS_H
#define WORKER_DEVICE_CPU_KERNELS_H

#include "worker/device/device.h"

#define KERNEL_JOIN_(name, isa) name##_##isa
#define KERNEL_JOIN(name, isa)  KERNEL_JOIN_(name, isa)
#define KERNEL(name)            KERNEL_JOIN(name, CPU_ISA)

/* kernel_pixels.c */
void KERNEL(to_float)(struct device *device, const void *x, size_t count, float *y);
void KERNEL(from_float)(struct device *device, const float *x, size_t count, void *y);
void KERNEL(images_normalize)(struct device *device, const uint8_t *images, size_t pixels,
                              const float mean[3], const float std[3], void *y);

/* kernel_pool.c */
void KERNEL(max_pool)(struct device *device, const struct max_pool *args);
void KERNEL(max_pool_backward)(struct device *device, const struct max_pool *args, const void *dy,
                               const void *dy2, void *dx);

/* kernel_bn.c */
void KERNEL(bn_sums)(struct device *device, const struct bn_sums *args);
void KERNEL(bn_finalize)(struct device *device, const struct bn_finalize *args);
void KERNEL(bn_apply)(struct device *device, const struct bn_apply *args);
void KERNEL(running_update)(struct device *device, float *running, const float *batch, size_t n,
                            float momentum);

/* kernel_bn_backward.c */
void KERNEL(bn_backward_sums)(struct device *device, const struct bn_backward *args);
void KERNEL(bn_backward_apply)(struct device *device, const struct bn_backward *args,
                               const float *gamma, const float *sums, double count, void *dx);
void KERNEL(row_scale_backward)(struct device *device, const struct bn_backward *args, float *ds);

/* kernel_rows.c */
void KERNEL(bias_activation)(struct device *device, const float *x, const float *bias, int rows,
                             int columns, enum activation activation, float *y);
void KERNEL(bias_activation_backward)(struct device *device, const float *dy, const float *y,
                                      int rows, int columns, enum activation activation, float *dx,
                                      float *dbias, int accumulate);
void KERNEL(normalize_rows)(struct device *device, const float *z, int rows, int columns,
                            float *zhat, float *norms);
void KERNEL(normalize_rows_backward)(struct device *device, const float *dzhat, const float *zhat,
                                     const float *norms, int rows, int columns, float *dz);

/* kernel_sinkhorn.c */
void KERNEL(scores_max)(struct device *device, const float *scores, int rows, int prototypes,
                        float *ret);
void KERNEL(sinkhorn_exp)(struct device *device, const float *scores, int rows, int prototypes,
                          const float *max, float epsilon, float *p);
void KERNEL(sinkhorn_prototypes)(struct device *device, const float *p, const float *b, int rows,
                                 int prototypes, float *y);
void KERNEL(sinkhorn_samples)(struct device *device, const float *p, const float *y, int rows,
                              int prototypes, double total, float *a, float *b);
void KERNEL(sinkhorn_codes)(struct device *device, const float *p, const float *a, int rows,
                            int prototypes, float *q);
void KERNEL(swav_loss)(struct device *device, const float *scores, const float *q,
                       float code_weight, int rows, int prototypes, float temperature,
                       float grad_scale, double *loss_sum, float *ds);

/* kernel_wide.c */
void KERNEL(multiply)(struct device *device, float *x, size_t count, float factor);
void KERNEL(wide_add)(struct device *device, const float *x, size_t count, int is_first,
                      double *wide);
void KERNEL(wide_round)(struct device *device, const double *wide, size_t count, float *x);

/* kernel_optimizer.c */
void KERNEL(optimizer_norms)(struct device *device, const struct optimizer_tensors *tensors);
void KERNEL(optimizer_update)(struct device *device, const struct optimizer_tensors *tensors);
void KERNEL(optimizer_momentum)(struct device *device, const struct optimizer_tensors *tensors,
                                const float *held, size_t first, size_t count);
void KERNEL(optimizer_move)(struct device *device, const struct optimizer_tensors *tensors);

#endif
