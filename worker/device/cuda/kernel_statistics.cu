/* kernel_statistics.cu - batch normalisation per channel: from sums to scale and bias. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/flat.h"

/* Variance from shifted sums: E[d^2] - E[d]^2 with d = x - shift, in fp64; with shift near the mean
 * nothing cancels. */
static __global__ void finalize_kernel(struct bn_finalize args)
{
    const double unbiased = args.count > 1 ? args.count / (args.count - 1) : 1;
    for (size_t c = flat_first(); c < (size_t)args.channels; c += flat_step()) {
        const double d = (double)args.sums[c] / args.count;
        const double square = (double)args.sums[(size_t)args.channels + c] / args.count;
        const double variance = square - d * d < 0 ? 0 : square - d * d;
        const double mean = (double)args.shift[c] + d;
        const double invstd = 1 / sqrt(variance + (double)args.eps);
        const double scale = (double)args.gamma[c] * invstd;
        args.mean[c] = (float)mean;
        args.invstd[c] = (float)invstd;
        args.scale[c] = (float)scale;
        args.bias[c] = (float)((double)args.beta[c] - mean * scale);
        args.batch_mean[c] = (float)mean;
        args.batch_var[c] = (float)(variance * unbiased);
    }
}

void cuda_bn_finalize(struct device *device, const struct bn_finalize *args)
{
    LAUNCH(finalize_kernel, flat_blocks((size_t)args->channels, 1), dim3(FLAT_THREADS),
           cuda_stream(device), *args);
    cuda_launched(device, "bn_finalize");
}

static __global__ void running_kernel(float *running, const float *batch, size_t n, float momentum)
{
    for (size_t i = flat_first(); i < n; i += flat_step())
        running[i] = (1 - momentum) * running[i] + momentum * batch[i];
}

void cuda_running_update(struct device *device, float *running, const float *batch, size_t n,
                         float momentum)
{
    LAUNCH(running_kernel, flat_blocks(n, 1), dim3(FLAT_THREADS), cuda_stream(device), running,
           batch, n, momentum);
    cuda_launched(device, "running_update");
}
