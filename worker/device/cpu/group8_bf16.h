/* group8_bf16.h - what kernel_group8.c does with pixels that are bf16: an instruction multiplies
 * pairs and adds both products to an fp32. A pair is two neighbouring inputs of a group, so four
 * rounds suffice. The weight gradient is computed in fp32: pairs of pixels would have to be made
 * first, which takes longer than it saves. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_GROUP8_BF16_H
#define WORKER_DEVICE_CPU_GROUP8_BF16_H

#include <immintrin.h>

/* Rounds in which all inputs of a group meet all its outputs, and outputs that meet at a time in
 * the weight gradient. */
enum { ROUNDS = 4, OUTPUTS = 2 };

/* A pixel as lines hold it: the four pairs of each group twice, for its eight outputs. */
ALWAYS_INLINE vec line_pixel(const stored *from, int lanes)
{
    const __mmask16 mask = (__mmask16)((1u << lanes) - 1);
    const __m512i pairs = _mm512_castsi256_si512(_mm256_maskz_loadu_epi16(mask, from));
    return (vec)_mm512_shuffle_i64x2(pairs, pairs, 0x50);
}

ALWAYS_INLINE vec twist(vec v, int r)
{
    switch (r) {
    case 1:
        return (vec)_mm512_shuffle_epi32((__m512i)v, (_MM_PERM_ENUM)0xB1);
    case 2:
        return (vec)_mm512_shuffle_epi32((__m512i)v, (_MM_PERM_ENUM)0x4E);
    case 3:
        return (vec)_mm512_shuffle_epi32((__m512i)v, (_MM_PERM_ENUM)0x1B);
    default:
        return v;
    }
}

ALWAYS_INLINE vec multiply_add(vec sum, vec v, vec w)
{
    return (vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)(__m512i)v, (__m512bh)(__m512i)w);
}

#endif
