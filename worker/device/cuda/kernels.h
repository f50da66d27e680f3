/* kernels.h - the names of our own kernels. C and C++.
 *
 * What touches activations is compiled once per kind of them, with CUDA_VALUES set to bf16, fp16 or
 * fp32: KERNEL(bn_sums) is then cuda_bn_sums_bf16. The rest works on fp32 and is compiled once. The
 * contracts are those of device_ops; failures are kept by cuda_launched. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_KERNELS_H
#define WORKER_DEVICE_CUDA_KERNELS_H

#include "worker/device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define KERNEL_JOIN_(name, values) cuda_##name##_##values
#define KERNEL_JOIN(name, values)  KERNEL_JOIN_(name, values)
#define KERNEL(name)               KERNEL_JOIN(name, CUDA_VALUES)

/* kernel_pixels.cu */
void KERNEL(images_normalize)(struct device *device, const uint8_t *images, size_t pixels,
                              const float mean[3], const float std[3], void *y);
void KERNEL(to_float)(struct device *device, const void *x, size_t count, float *y);
void KERNEL(from_float)(struct device *device, const float *x, size_t count, void *y);

/* kernel_pool.cu */
void KERNEL(max_pool)(struct device *device, const struct max_pool *args);
void KERNEL(max_pool_backward)(struct device *device, const struct max_pool *args, const void *dy,
                               const void *dy2, void *dx);

/* kernel_bn.cu */
void KERNEL(bn_sums)(struct device *device, const struct bn_sums *args);
void KERNEL(bn_apply)(struct device *device, const struct bn_apply *args);

/* kernel_bn_backward.cu */
void KERNEL(bn_backward_sums)(struct device *device, const struct bn_backward *args);
void KERNEL(bn_backward_apply)(struct device *device, const struct bn_backward *args,
                               const float *gamma, const float *sums, double count, void *dx);
void KERNEL(row_scale_backward)(struct device *device, const struct bn_backward *args, float *ds);

/* kernel_pack.cu: between our layouts and those that libraries want, in which every group of
 * channels is filled up with zeros. */
struct pack_channels {
    size_t pixels;
    int groups, width, padded; /* channels of a group, without and with the zeros */
};
struct pack_weights {
    int groups, taps;  /* taps: kernel*kernel */
    int in, padded_in; /* of a group */
    int out, padded_out;
};
/* x [pixels][groups][width] -> y [pixels][groups][padded], zeros written. */
void KERNEL(channels_pad)(struct device *device, const struct pack_channels *by, const void *x,
                          void *y);
/* And back. */
void KERNEL(channels_unpad)(struct device *device, const struct pack_channels *by, const void *x,
                            void *y);
/* w [groups][out][in][taps] fp32 -> packed [groups][padded_out][taps][padded_in] activations. */
void KERNEL(weights_pack)(struct device *device, const struct pack_weights *by, const float *w,
                          void *packed);
/* Back, overwriting w or adding to it. */
void KERNEL(weights_unpack)(struct device *device, const struct pack_weights *by,
                            const void *packed, int accumulate, float *w);

/* kernel_pack.cu for those who know the kind of activation only when they run (cuda_ops.c). */
struct cuda_packing {
    void (*channels_pad)(struct device *device, const struct pack_channels *by, const void *x,
                         void *y);
    void (*channels_unpad)(struct device *device, const struct pack_channels *by, const void *x,
                           void *y);
    void (*weights_pack)(struct device *device, const struct pack_weights *by, const float *w,
                         void *packed);
    void (*weights_unpack)(struct device *device, const struct pack_weights *by, const void *packed,
                           int accumulate, float *w);
};
extern const struct cuda_packing cuda_packing_bf16, cuda_packing_fp16, cuda_packing_fp32;

/* kernel_statistics.cu */
void cuda_bn_finalize(struct device *device, const struct bn_finalize *args);
void cuda_running_update(struct device *device, float *running, const float *batch, size_t n,
                         float momentum);

/* kernel_parts.cu: the second stage of every sum over many blocks. */
struct parts_sum {
    const double *parts; /* [part_count][count] */
    int part_count;
    size_t count;
    const float *factors; /* [count/2] for the second half of the sums; NULL: none */
    int accumulate;       /* add to sums */
    float *sums;          /* [count] */
};
/* sums[i] (+)= factor * sum over parts, in their order. */
void cuda_parts_sum(struct device *device, const struct parts_sum *args);

/* kernel_rows.cu */
void cuda_bias_activation(struct device *device, const float *x, const float *bias, int rows,
                          int columns, enum activation activation, float *y);
void cuda_bias_activation_backward(struct device *device, const float *dy, const float *y, int rows,
                                   int columns, enum activation activation, float *dx, float *dbias,
                                   int accumulate);
void cuda_normalize_rows(struct device *device, const float *z, int rows, int columns, float *zhat,
                         float *norms);
void cuda_normalize_rows_backward(struct device *device, const float *dzhat, const float *zhat,
                                  const float *norms, int rows, int columns, float *dz);

/* kernel_sinkhorn.cu */
void cuda_scores_max(struct device *device, const float *scores, int rows, int prototypes,
                     float *ret);
void cuda_sinkhorn_exp(struct device *device, const float *scores, int rows, int prototypes,
                       const float *max, float epsilon, float *p);
void cuda_sinkhorn_prototypes(struct device *device, const float *p, const float *b, int rows,
                              int prototypes, float *y);
void cuda_sinkhorn_samples(struct device *device, const float *p, const float *y, int rows,
                           int prototypes, double total, float *a, float *b);
void cuda_sinkhorn_codes(struct device *device, const float *p, const float *a, int rows,
                         int prototypes, float *q);

/* kernel_loss.cu */
void cuda_swav_loss(struct device *device, const float *scores, const float *q, float code_weight,
                    int rows, int prototypes, float temperature, float grad_scale, double *loss_sum,
                    float *ds);

/* kernel_wide.cu */
void cuda_multiply(struct device *device, float *x, size_t count, float factor);
void cuda_wide_add(struct device *device, const float *x, size_t count, int is_first, double *wide);
void cuda_wide_round(struct device *device, const double *wide, size_t count, float *x);

/* kernel_optimizer.cu */
void cuda_optimizer_norms(struct device *device, const struct optimizer_tensors *tensors);
void cuda_optimizer_rule(struct device *device, const struct optimizer_rule *rule);
void cuda_optimizer_update(struct device *device, const struct optimizer_tensors *tensors);
void cuda_optimizer_momentum(struct device *device, const struct optimizer_tensors *tensors,
                             const float *held, size_t first, size_t count);
void cuda_optimizer_move(struct device *device, const struct optimizer_tensors *tensors);

#ifdef __cplusplus
}
#endif
#endif
