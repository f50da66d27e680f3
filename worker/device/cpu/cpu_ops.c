/* cpu_ops.c - the operations of the CPU back end, with the kernels of one instruction set. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"
#include "worker/device/cpu/kernels.h"

extern const struct device_ops KERNEL(cpu_ops);

const struct device_ops KERNEL(cpu_ops) = {
    .name = "cpu",
    .describe = cpu_describe,
    .allocate = cpu_allocate,
    .release = cpu_release,
    .upload = cpu_copy,
    .download = cpu_copy,
    .copy = cpu_copy,
    .zero = cpu_zero,
    .synchronize = cpu_synchronize,
    .destroy = cpu_destroy,
    .activation_bytes = sizeof(float),
    .images_normalize = KERNEL(images_normalize),
    .to_float = cpu_to_float,
    .from_float = cpu_from_float,
    .conv_create = cpu_conv_create,
    .conv_destroy = cpu_conv_destroy,
    .conv_weights = cpu_conv_weights,
    .conv_forward = cpu_conv_forward,
    .conv_backward_data = cpu_conv_backward_data,
    .conv_backward_weights = cpu_conv_backward_weights,
    .bn_sums = KERNEL(bn_sums),
    .bn_finalize = KERNEL(bn_finalize),
    .bn_apply = KERNEL(bn_apply),
    .bn_backward_sums = KERNEL(bn_backward_sums),
    .bn_backward_apply = KERNEL(bn_backward_apply),
    .running_update = KERNEL(running_update),
    .row_scale = KERNEL(row_scale),
    .row_scale_backward = KERNEL(row_scale_backward),
    .gemm = dnnl_conv_gemm,
    .bias_activation = KERNEL(bias_activation),
    .bias_activation_backward = KERNEL(bias_activation_backward),
    .normalize_rows = KERNEL(normalize_rows),
    .normalize_rows_backward = KERNEL(normalize_rows_backward),
    .scores_max = KERNEL(scores_max),
    .sinkhorn_exp = KERNEL(sinkhorn_exp),
    .sinkhorn_prototypes = KERNEL(sinkhorn_prototypes),
    .sinkhorn_samples = KERNEL(sinkhorn_samples),
    .sinkhorn_codes = KERNEL(sinkhorn_codes),
    .swav_loss = KERNEL(swav_loss),
    .wide_add = KERNEL(wide_add),
    .wide_round = KERNEL(wide_round),
    .optimizer_norms = KERNEL(optimizer_norms),
    .optimizer_update = KERNEL(optimizer_update),
};
