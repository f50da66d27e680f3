/* resize_kernels.h - the inner loops of resize.c, once per instruction set, all with the same
 * bytes.
 *
 * The pass along rows is the hard one to vectorise: neighbouring outputs read unrelated bytes. So a
 * strip of rows is transposed in registers; then one column of three channels is 96 neighbouring
 * bytes, and both passes are the same kernel: 96 weighted sums over taps that lie a fixed stride
 * apart. Integers alone: every instruction set gives the same bytes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_RESIZE_KERNELS_H
#define LOADER_RESIZE_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "loader/image_part.h"
#include "loader/planes.h"

enum {
    RESIZE_STRIP = IMAGE_STRIP, /* rows transposed together */
    RESIZE_CHUNK_MAX = 64,      /* columns of bytes that a transposition goes by, at most */
    RESIZE_WEIGHT_BITS = 22     /* Pillow's PRECISION_BITS: 32 - 8 - 2 */
};

/* The filter of one axis: output i is the sum over t < count[i] of weights[i * stride + t] times
 * input first[i] + t. */
struct resize_taps {
    int stride;
    int *first, *count;
    int32_t *weights;
};

struct resize_kernels {
    const char *name;
    /* Rows of `count` bytes to [count, whole chunks][RESIZE_STRIP]. Reads nothing behind a row. */
    void (*transpose)(const uint8_t *const rows[RESIZE_STRIP], size_t count, uint8_t *out);
    /* The way back, of [count][RESIZE_STRIP]. */
    void (*restore)(const uint8_t *in, size_t count, uint8_t *rows, size_t row_bytes);
    /* [columns][3][RESIZE_STRIP] to [3][size][RESIZE_STRIP]: the planes part here, and the mirror
     * costs nothing. */
    void (*weigh_columns)(const uint8_t *in, const struct resize_taps *taps, int size,
                          int is_flipped, uint8_t *out);
    /* in: rows of planes->row_bytes. */
    void (*weigh_rows)(const uint8_t *in, const struct resize_taps *taps,
                       const struct planes *planes);
};

/* What this CPU can run, the fastest first; ends with NULL. */
const struct resize_kernels *const *resize_kernels_list(void);

#endif
