/* values_bf16.h - activations that are kept as bf16, the upper half of an fp32, and computed with
 * as fp32. Rounding is to the nearest, ties to even; what is subnormal becomes 0; NaN stays NaN. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_VALUES_BF16_H
#define WORKER_DEVICE_CPU_VALUES_BF16_H

#include <immintrin.h>

#define stored uint16_t

ALWAYS_INLINE vec value_widen(__m256i halves)
{
    return (vec)_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16);
}

ALWAYS_INLINE vec value_load(const stored *from)
{
    return value_widen(_mm256_loadu_si256((const __m256i *)(const void *)from));
}

ALWAYS_INLINE void value_store(stored *to, vec v)
{
    _mm256_storeu_si256((__m256i *)(void *)to, (__m256i)_mm512_cvtneps_pbh((__m512)v));
}

ALWAYS_INLINE vec value_load_part(const stored *from, int lanes)
{
    return value_widen(_mm256_maskz_loadu_epi16((__mmask16)((1u << lanes) - 1), from));
}

ALWAYS_INLINE void value_store_part(stored *to, vec v, int lanes)
{
    _mm256_mask_storeu_epi16(to, (__mmask16)((1u << lanes) - 1),
                             (__m256i)_mm512_cvtneps_pbh((__m512)v));
}

#endif
