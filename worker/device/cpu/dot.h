/* dot.h - sums along a row of numbers: fp32 lanes for a while, then fp64, in a fixed order. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_DOT_H
#define WORKER_DEVICE_CPU_DOT_H

#include "worker/device/cpu/vec.h"

/* Values after which the lanes join the fp64 total: 16 additions per lane. */
enum { DOT_BLOCK = 16 * 4 * LANES };

/* Lanes of a vector that starts at i of n. */
ALWAYS_INLINE int dot_lanes(size_t i, size_t n)
{
    return n - i < LANES ? (int)(n - i) : LANES;
}

/* sum a[i]*b[i]. */
ALWAYS_INLINE double dot(const float *a, const float *b, size_t n)
{
    double total = 0;
    for (size_t first = 0; first < n; first += DOT_BLOCK) {
        const size_t end = n - first < DOT_BLOCK ? n : first + DOT_BLOCK;
        vec sum[4] = {{0}};
        size_t i = first;
        for (; i + STRIP <= end; i += STRIP)
            for (size_t j = 0; j < 4; j++)
                sum[j] += vec_load(a + i + j * LANES) * vec_load(b + i + j * LANES);
        for (; i < end; i += LANES) {
            const int lanes = dot_lanes(i, end);
            sum[0] += vec_load_part(a + i, lanes) * vec_load_part(b + i, lanes);
        }
        total += vec_sum((sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
    return total;
}

#endif
