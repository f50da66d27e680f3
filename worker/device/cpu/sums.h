/* sums.h - sums over pixels of up to SPAN channels: fast like fp32, exact like fp64.
 *
 * Up to BLOCK pixels are summed in fp32, in registers; then the block joins a total in fp64. The
 * order depends on the shape alone, so the same numbers give the same bits. Lives on the stack of
 * the kernel that uses it; wider tensors are taken in spans of SPAN channels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_SUMS_H
#define WORKER_DEVICE_CPU_SUMS_H

#include <string.h>

#include "worker/device/cpu/vec.h"

/* SPAN: wider than most networks, and 24 KiB of stack. BLOCK: 64 values keep the error of an fp32
 * sum near 1e-6 and 64 pixels of 256 channels in the L1 and L2 caches between strips. */
enum { SPAN = 1024, BLOCK = 64 };

/* Pixels whose strips are worked on before those of the next channels: many where tensors are in
 * the cache, so that sums stay in registers for some time; few where they come from memory, since
 * the processor fetches ahead what is read in order. */
enum { PIXELS_NEAR = 64, PIXELS_FAR = 4 };

struct sums {
    float part[2][SPAN]; /* of the present block */
    double total[2][SPAN];
    int pixels; /* in the present block */
};

ALWAYS_INLINE void sums_init(struct sums *sums, int channels)
{
    size_t padded = (size_t)(channels + LANES - 1) / LANES * LANES;
    for (int i = 0; i < 2; i++) {
        memset(sums->part[i], 0, padded * sizeof(float));
        memset(sums->total[i], 0, padded * sizeof(double));
    }
    sums->pixels = 0;
}

ALWAYS_INLINE void sums_flush(struct sums *sums, int channels)
{
    for (int i = 0; i < 2; i++)
        for (int c = 0; c < channels; c++) {
            sums->total[i][c] += (double)sums->part[i][c];
            sums->part[i][c] = 0;
        }
    sums->pixels = 0;
}

/* Says that `pixels` more were added to part. */
ALWAYS_INLINE void sums_added(struct sums *sums, int pixels, int channels)
{
    sums->pixels += pixels;
    if (sums->pixels >= BLOCK)
        sums_flush(sums, channels);
}

#endif
