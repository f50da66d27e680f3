/* lanes_16.h - registers of 16 bytes in the compiler's vector notation, for resize_kernels.c. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_LANES_16_H
#define LOADER_LANES_16_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "loader/simd.h"

enum { LANES_BYTES = 16, LANES_INTS = 4 };

/* A vector type has no name in C unless one is made; the house makes no typedefs. */
#define bytes uint8_t __attribute__((vector_size(LANES_BYTES)))
#define ints  int32_t __attribute__((vector_size(LANES_BYTES)))

#define LANES_PAIRS(i) LANES_PAIR(i), LANES_PAIR(i + 2), LANES_PAIR(i + 4), LANES_PAIR(i + 6)
#define LANES_PAIR(i)  i, LANES_BYTES + i, i + 1, LANES_BYTES + i + 1
/* Within each sixteen bytes: those of a and b by turns, of their lower or of their upper halves. */
#define LANES_LOWER(a, b) __builtin_shufflevector(a, b, LANES_PAIRS(0))
#define LANES_UPPER(a, b) __builtin_shufflevector(a, b, LANES_PAIRS(8))

/* Sixteen bytes at `from`, and at each further `step`, side by side. */
SIMD_INLINE bytes lanes_gather(const uint8_t *from, size_t step)
{
    bytes lanes;
    (void)step;
    memcpy(&lanes, from, LANES_BYTES);
    return lanes;
}

SIMD_INLINE ints lanes_widen(const uint8_t *from)
{
    return (ints){from[0], from[1], from[2], from[3]};
}

/* Lanes are 0 to 255. */
SIMD_INLINE void lanes_narrow(ints values, uint8_t *to)
{
    for (int i = 0; i < LANES_INTS; i++)
        to[i] = (uint8_t)values[i];
}

#endif
