/* resize_kernels.c - transposing and weighing in the compiler's vector notation; compiled once per
 * instruction set, with the width of its registers. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/resize_kernels.h"

#include <string.h>

#include LANES_H
#include "loader/simd.h"

enum {
    BLOCK = 16,  /* bytes a side, transposed in registers */
    AHEAD = 512, /* bytes of a row: no CPU foresees where 32 rows are read */
    SUMS = PLANES_ROW_STEP / LANES_INTS,
    THIRD = SUMS / 3,
};

/* Blocks of 16 x 16 bytes, side by side in 16 rows, each transposed: byte j of row i goes to
 * byte i of row j. A round moves the highest bit of the row's number to the lowest of the column's,
 * and that of the column's to the row's; after four all have changed sides. */
SIMD_INLINE void blocks_transpose(bytes rows[BLOCK])
{
    for (int round = 0; round < 4; round++) {
        bytes next[BLOCK];
        for (int i = 0; i < BLOCK / 2; i++) {
            next[2 * i] = LANES_LOWER(rows[i], rows[i + BLOCK / 2]);
            next[2 * i + 1] = LANES_UPPER(rows[i], rows[i + BLOCK / 2]);
        }
        for (int i = 0; i < BLOCK; i++)
            rows[i] = next[i];
    }
}

/* LANES_BYTES bytes of RESIZE_STRIP rows, from `start` on, to [LANES_BYTES][RESIZE_STRIP]. */
SIMD_INLINE void chunk_transpose(const uint8_t *const rows[RESIZE_STRIP], size_t start,
                                 uint8_t *out)
{
    for (int half = 0; half < RESIZE_STRIP; half += BLOCK) {
        bytes block[BLOCK];
        for (int i = 0; i < BLOCK; i++) {
            memcpy(&block[i], rows[half + i] + start, LANES_BYTES);
            __builtin_prefetch(rows[half + i] + start + AHEAD);
        }
        blocks_transpose(block);
        for (int i = 0; i < BLOCK; i++)
            for (int lane = 0; lane < LANES_BYTES; lane += BLOCK)
                memcpy(out + (lane + i) * RESIZE_STRIP + half, (const uint8_t *)&block[i] + lane,
                       BLOCK);
    }
}

/* RESIZE_STRIP rows of `count` bytes to [count, whole chunks][RESIZE_STRIP]. */
static void transpose(const uint8_t *const rows[RESIZE_STRIP], size_t count, uint8_t *out)
{
    size_t start = 0;
    for (; start + LANES_BYTES <= count; start += LANES_BYTES)
        chunk_transpose(rows, start, out + start * RESIZE_STRIP);
    if (start == count)
        return;
    uint8_t last[RESIZE_STRIP][LANES_BYTES] = {
        0}; /* what is behind a row may not be ours to read */
    const uint8_t *last_rows[RESIZE_STRIP];
    for (int i = 0; i < RESIZE_STRIP; i++) {
        memcpy(last[i], rows[i] + start, count - start);
        last_rows[i] = last[i];
    }
    chunk_transpose(last_rows, 0, out + start * RESIZE_STRIP);
}

/* The way back: [LANES_BYTES][RESIZE_STRIP] to `count` <= LANES_BYTES bytes of RESIZE_STRIP rows.
 */
SIMD_INLINE void chunk_restore(const uint8_t *in, size_t count, uint8_t *rows, size_t row_bytes)
{
    for (int half = 0; half < RESIZE_STRIP; half += BLOCK) {
        bytes block[BLOCK];
        for (int i = 0; i < BLOCK; i++)
            block[i] = lanes_gather(in + i * RESIZE_STRIP + half, BLOCK * RESIZE_STRIP);
        blocks_transpose(block);
        for (int i = 0; i < BLOCK; i++)
            memcpy(rows + (size_t)(half + i) * row_bytes, &block[i], count);
    }
}

static void restore(const uint8_t *in, size_t count, uint8_t *rows, size_t row_bytes)
{
    size_t start = 0;
    for (; start + LANES_BYTES <= count; start += LANES_BYTES)
        chunk_restore(in + start * RESIZE_STRIP, LANES_BYTES, rows + start, row_bytes);
    if (count - start == RESIZE_STRIP) /* as of 224 and 96 pixels: a move of a fixed length */
        chunk_restore(in + start * RESIZE_STRIP, RESIZE_STRIP, rows + start, row_bytes);
    else if (start < count)
        chunk_restore(in + start * RESIZE_STRIP, count - start, rows + start, row_bytes);
}

/* ROW_STEP weighted sums over `count` taps, `stride` bytes apart. Each third goes to a place of its
 * own, straight from the registers: gathered in memory first, they would be read in other pieces
 * than they were written, for which CPUs wait. */
SIMD_INLINE void weigh(const uint8_t *restrict in, size_t stride, const int32_t *restrict weights,
                       int count, uint8_t *restrict out, size_t third_bytes)
{
    ints sums[SUMS];
    for (int i = 0; i < SUMS; i++)
        sums[i] = (ints){0} + (1 << (RESIZE_WEIGHT_BITS - 1));
    for (int t = 0; t < count; t++) {
        const uint8_t *tap = in + (size_t)t * stride;
        for (int i = 0; i < SUMS; i++)
            sums[i] += lanes_widen(tap + LANES_INTS * i) * weights[t];
    }
    for (int i = 0; i < SUMS; i++)
        lanes_narrow(sums[i] >> RESIZE_WEIGHT_BITS,
                     out + (size_t)(i / THIRD) * third_bytes + LANES_INTS * (i % THIRD));
}

/* [columns][3][RESIZE_STRIP] to [3][size][RESIZE_STRIP]: the planes part here, and the mirror costs
 * nothing. */
static void weigh_columns(const uint8_t *in, const struct resize_taps *taps, int size,
                          int is_flipped, uint8_t *out)
{
    for (int x = 0; x < size; x++) {
        size_t column = (size_t)(is_flipped ? size - 1 - x : x);
        weigh(in + (size_t)taps->first[x] * PLANES_ROW_STEP, PLANES_ROW_STEP,
              taps->weights + (size_t)x * (size_t)taps->stride, taps->count[x],
              out + column * RESIZE_STRIP, (size_t)size * RESIZE_STRIP);
    }
}

static void weigh_rows(const uint8_t *in, const struct resize_taps *taps,
                       const struct planes *planes)
{
    size_t row_bytes = planes->row_bytes;
    for (int y = 0; y < planes->size; y++)
        for (size_t column = 0; column < row_bytes; column += PLANES_ROW_STEP)
            weigh(in + (size_t)taps->first[y] * row_bytes + column, row_bytes,
                  taps->weights + (size_t)y * (size_t)taps->stride, taps->count[y],
                  planes_row(planes, y, 0) + column, PLANES_ROW_STEP / 3);
}

#define TABLE_OF(isa) resize_kernels_##isa
#define TABLE(isa)    TABLE_OF(isa)
#define NAME_OF(isa)  #isa
#define NAME(isa)     NAME_OF(isa)

extern const struct resize_kernels TABLE(LANES_ISA);
const struct resize_kernels TABLE(LANES_ISA) = {
    .name = NAME(LANES_ISA),
    .transpose = transpose,
    .restore = restore,
    .weigh_columns = weigh_columns,
    .weigh_rows = weigh_rows,
};
