/* lanes_32.h - registers of 32 bytes in the compiler's vector notation, and its intrinsics, for
 * resize_kernels.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_LANES_32_H
#define LOADER_LANES_32_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#include "loader/simd.h"

enum { LANES_BYTES = 32, LANES_INTS = 8 };

/* A vector type has no name in C unless one is made; the house makes no typedefs. */
#define bytes uint8_t __attribute__((vector_size(LANES_BYTES)))
#define ints  int32_t __attribute__((vector_size(LANES_BYTES)))

#define LANES_PAIRS(i) LANES_PAIR(i), LANES_PAIR(i + 2), LANES_PAIR(i + 4), LANES_PAIR(i + 6)
#define LANES_PAIR(i)  i, LANES_BYTES + i, i + 1, LANES_BYTES + i + 1
/* Within each sixteen bytes: those of a and b by turns, of their lower or of their upper halves. */
#define LANES_LOWER(a, b) __builtin_shufflevector(a, b, LANES_PAIRS(0), LANES_PAIRS(16))
#define LANES_UPPER(a, b) __builtin_shufflevector(a, b, LANES_PAIRS(8), LANES_PAIRS(24))

/* Sixteen bytes at `from`, and at each further `step`, side by side. */
SIMD_INLINE bytes lanes_gather(const uint8_t *from, size_t step)
{
    __m128i lower = _mm_loadu_si128((const __m128i *)from);
    __m128i upper = _mm_loadu_si128((const __m128i *)(from + step));
    return (bytes)_mm256_inserti128_si256(_mm256_castsi128_si256(lower), upper, 1);
}

SIMD_INLINE ints lanes_widen(const uint8_t *from)
{
    return (ints)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)from));
}

/* Lanes are 0 to 255. */
SIMD_INLINE void lanes_narrow(ints values, uint8_t *to)
{
    __m128i lower = _mm256_castsi256_si128((__m256i)values);
    __m128i upper = _mm256_extracti128_si256((__m256i)values, 1);
    __m128i words = _mm_packs_epi32(lower, upper);
    _mm_storel_epi64((__m128i *)to, _mm_packus_epi16(words, words));
}

#endif
