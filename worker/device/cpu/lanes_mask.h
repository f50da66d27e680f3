/* lanes_mask.h - loads and stores of part of a vector: AVX-512 has masks for it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_LANES_MASK_H
#define WORKER_DEVICE_CPU_LANES_MASK_H

#include <immintrin.h>

/* The first `lanes` (1..LANES) values; the other lanes are 0 and their memory is not touched. */
ALWAYS_INLINE vec vec_load_part(const float *from, int lanes)
{
    return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << lanes) - 1), from);
}

ALWAYS_INLINE void vec_store_part(float *to, vec v, int lanes)
{
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << lanes) - 1), (__m512)v);
}

#endif
