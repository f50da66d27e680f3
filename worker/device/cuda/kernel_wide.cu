/* kernel_wide.cu - sums of floats that come out the same in any order, and their scale. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/kernels.h"

#include "worker/device/cuda/flat.h"

/* Adding and subtracting 1.5 * 2^(52 - g) rounds a double to a multiple of 2^-g. Multiples of 2^-20
 * stay exact up to 2^33; what is left is below 2^-21, and 4096 multiples of 2^-62 of that size stay
 * below 2^-9: both sums fit the 53 bits of a double. The same bits as cpu/kernel_wide.c. */
static constexpr double grid_high = 0x1.8p32, grid_low = 0x1.8p-10;

static __global__ void multiply_kernel(float *x, size_t count, float factor)
{
    for (size_t i = flat_first(); i < count; i += flat_step())
        x[i] *= factor;
}

void cuda_multiply(struct device *device, float *x, size_t count, float factor)
{
    LAUNCH(multiply_kernel, flat_blocks(count, 1), dim3(FLAT_THREADS), cuda_stream(device), x,
           count, factor);
    cuda_launched(device, "multiply");
}

static __global__ void add_kernel(const float *x, size_t count, int is_first, double *wide)
{
    for (size_t i = flat_first(); i < count; i += flat_step()) {
        const double value = (double)x[i];
        const double high = (value + grid_high) - grid_high;
        const double low = ((value - high) + grid_low) - grid_low;
        wide[2 * i] = is_first ? high : wide[2 * i] + high;
        wide[2 * i + 1] = is_first ? low : wide[2 * i + 1] + low;
    }
}

void cuda_wide_add(struct device *device, const float *x, size_t count, int is_first, double *wide)
{
    LAUNCH(add_kernel, flat_blocks(count, 1), dim3(FLAT_THREADS), cuda_stream(device), x, count,
           is_first, wide);
    cuda_launched(device, "wide_add");
}

static __global__ void round_kernel(const double *wide, size_t count, float *x)
{
    for (size_t i = flat_first(); i < count; i += flat_step())
        x[i] = (float)(wide[2 * i] + wide[2 * i + 1]);
}

void cuda_wide_round(struct device *device, const double *wide, size_t count, float *x)
{
    LAUNCH(round_kernel, flat_blocks(count, 1), dim3(FLAT_THREADS), cuda_stream(device), wide,
           count, x);
    cuda_launched(device, "wide_round");
}
