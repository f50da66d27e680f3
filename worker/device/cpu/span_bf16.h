/* span_bf16.h - products of pairs of bf16, added to fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_SPAN_BF16_H
#define WORKER_DEVICE_CPU_SPAN_BF16_H

#include <immintrin.h>

ALWAYS_INLINE vec pairs_add(vec sum, vec row, __m512i pairs)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)pairs, (__m512bh)(__m512i)row);
}

/* sum += row * *factor, values being pairs. What no span of this width has stays 0 and costs
 * nothing. */
ALWAYS_INLINE void span_add(struct span *sum, const struct span *row, const void *factor)
{
    int bits;
    memcpy(&bits, factor, sizeof(bits));
    const __m512i pairs = _mm512_set1_epi32(bits);
    sum->a = pairs_add(sum->a, row->a, pairs);
    sum->b = pairs_add(sum->b, row->b, pairs);
    sum->c = pairs_add(sum->c, row->c, pairs);
    sum->d = pairs_add(sum->d, row->d, pairs);
    sum->half = (vec_half)_mm256_dpbf16_ps(
        (__m256)sum->half, (__m256bh)_mm512_castsi512_si256(pairs), (__m256bh)(__m256i)row->half);
}

#endif
