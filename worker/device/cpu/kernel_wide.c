/* kernel_wide.c - sums of floats that come out the same in any order, and their scale. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"
#include "worker/device/cpu/vec.h"

/* Adding and subtracting 1.5 * 2^(52 - g) rounds a double to a multiple of 2^-g. Multiples of 2^-20
 * stay exact up to 2^33; what is left is below 2^-21, and 4096 multiples of 2^-62 of that size stay
 * below 2^-9: both sums fit the 53 bits of a double. */
static const double GRID_HIGH = 0x1.8p32, GRID_LOW = 0x1.8p-10;

void KERNEL(multiply)(struct device *device, float *x, size_t count, float factor)
{
    (void)device;
    for (size_t i = 0; i < count; i++)
        x[i] *= factor;
}

/* x on the two grids, added to what is there or to nothing. */
ALWAYS_INLINE void add(const float *restrict x, size_t count, int is_first, double *restrict wide)
{
    for (size_t i = 0; i < count; i++) {
        const double exact = x[i];
        const double high = (exact + GRID_HIGH) - GRID_HIGH;
        const double low = ((exact - high) + GRID_LOW) - GRID_LOW;
        wide[2 * i] = is_first ? high : wide[2 * i] + high;
        wide[2 * i + 1] = is_first ? low : wide[2 * i + 1] + low;
    }
}

void KERNEL(wide_add)(struct device *device, const float *x, size_t count, int is_first,
                      double *wide)
{
    (void)device;
    if (is_first)
        add(x, count, 1, wide);
    else
        add(x, count, 0, wide);
}

void KERNEL(wide_round)(struct device *device, const double *wide, size_t count, float *x)
{
    (void)device;
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(wide[2 * i] + wide[2 * i + 1]);
}
