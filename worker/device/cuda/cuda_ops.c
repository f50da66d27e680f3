/* cuda_ops.c - the operations of the CUDA back end, for one kind of activation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/cuda.h"
#include "worker/device/cuda/kernels.h"

const struct cuda_packing KERNEL(packing) = {
    .channels_pad = KERNEL(channels_pad),
    .channels_unpad = KERNEL(channels_unpad),
    .weights_pack = KERNEL(weights_pack),
    .weights_unpack = KERNEL(weights_unpack),
};

const struct device_ops KERNEL(ops) = {
    .name = "cuda",
    .describe = cuda_describe,
    .allocate = cuda_allocate,
    .release = cuda_release,
    .upload = cuda_upload,
    .download = cuda_download,
    .copy = cuda_copy,
    .zero = cuda_zero,
    .synchronize = cuda_synchronize,
    .destroy = cuda_destroy,
    .activation_bytes = CUDA_VALUE_BYTES,
    .images_normalize = KERNEL(images_normalize),
    .to_float = KERNEL(to_float),
    .from_float = KERNEL(from_float),
    .conv_create = cuda_conv_create,
    .conv_destroy = cuda_conv_destroy,
    .conv_weights = cuda_conv_weights,
    .conv_forward = cuda_conv_forward,
    .conv_backward_data = cuda_conv_backward_data,
    .conv_backward_weights = cuda_conv_backward_weights,
    .bn_sums = KERNEL(bn_sums),
    .bn_finalize = cuda_bn_finalize,
    .bn_apply = KERNEL(bn_apply),
    .bn_backward_sums = KERNEL(bn_backward_sums),
    .bn_backward_apply = KERNEL(bn_backward_apply),
    .running_update = cuda_running_update,
    .row_scale = KERNEL(row_scale),
    .row_scale_backward = KERNEL(row_scale_backward),
    .gemm = cuda_gemm,
    .bias_activation = cuda_bias_activation,
    .bias_activation_backward = cuda_bias_activation_backward,
    .normalize_rows = cuda_normalize_rows,
    .normalize_rows_backward = cuda_normalize_rows_backward,
    .scores_max = cuda_scores_max,
    .sinkhorn_exp = cuda_sinkhorn_exp,
    .sinkhorn_prototypes = cuda_sinkhorn_prototypes,
    .sinkhorn_samples = cuda_sinkhorn_samples,
    .sinkhorn_codes = cuda_sinkhorn_codes,
    .swav_loss = cuda_swav_loss,
    .wide_add = cuda_wide_add,
    .wide_round = cuda_wide_round,
    .optimizer_norms = cuda_optimizer_norms,
    .optimizer_update = cuda_optimizer_update,
};
