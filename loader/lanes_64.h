/* lanes_64.h - registers of 64 bytes in the compiler's vector notation, and its intrinsics, for
 * resize_kernels.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_LANES_64_H
#define LOADER_LANES_64_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/simd.h"

enum { LANES_BYTES = 64, LANES_INTS = 16 };

/* A vector type has no name in C unless one is made; the house makes no typedefs. */
#define bytes uint8_t __attribute__((vector_size(LANES_BYTES)))
#define ints  int32_t __attribute__((vector_size(LANES_BYTES)))

#define LANES_PAIRS(i) LANES_PAIR(i), LANES_PAIR(i + 2), LANES_PAIR(i + 4), LANES_PAIR(i + 6)
#define LANES_PAIR(i)  i, LANES_BYTES + i, i + 1, LANES_BYTES + i + 1
/* Within each sixteen bytes: those of a and b by turns, of their lower or of their upper halves. */
#define LANES_LOWER(a, b)                                                                          \
    __builtin_shufflevector(a, b, LANES_PAIRS(0), LANES_PAIRS(16), LANES_PAIRS(32), LANES_PAIRS(48))
#define LANES_UPPER(a, b)                                                                          \
    __builtin_shufflevector(a, b, LANES_PAIRS(8), LANES_PAIRS(24), LANES_PAIRS(40), LANES_PAIRS(56))

/* Sixteen bytes at `from`, and at each further `step`, side by side. */
SIMD_INLINE bytes lanes_gather(const uint8_t *from, size_t step)
{
    __m512i lanes = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)from));
    lanes = _mm512_inserti32x4(lanes, _mm_loadu_si128((const __m128i *)(from + step)), 1);
    lanes = _mm512_inserti32x4(lanes, _mm_loadu_si128((const __m128i *)(from + 2 * step)), 2);
    return (bytes)_mm512_inserti32x4(lanes, _mm_loadu_si128((const __m128i *)(from + 3 * step)), 3);
}

SIMD_INLINE ints lanes_widen(const uint8_t *from)
{
    return (ints)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)from));
}

/* Lanes are 0 to 255. */
SIMD_INLINE void lanes_narrow(ints values, uint8_t *to)
{
    _mm_storeu_si128((__m128i *)to, _mm512_cvtepi32_epi8((__m512i)values));
}

#endif
