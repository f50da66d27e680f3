/* planes.h - a square RGB picture on its way through the augmentations, stored plane by plane.
 *
 * Each row holds its red, its green and its blue bytes one after another, so every operation of
 * color.c and blur.c is a loop over neighbouring bytes that the compiler vectorises. Interleaving
 * happens once, at the end. A value with one buffer; one thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_PLANES_H
#define LOADER_PLANES_H

#include <stddef.h>
#include <stdint.h>

/* Rows are padded to a multiple of this: what resize.c computes at once. */
enum { PLANES_ROW_STEP = 96 };

struct planes {
    int size;         /* pixels per side */
    size_t row_bytes; /* from row to row; at least 3 * size */
    uint8_t *bytes;   /* [size][row_bytes], owned; a row is [3][size] and padding */
    size_t capacity;  /* bytes allocated */
};

/* An empty picture: a zeroed struct planes. Gives it a size; allocates only when it grows. */
void planes_resize(struct planes *planes, int size);
void planes_done(struct planes *planes);
/* Red, green or blue (0, 1, 2) of row y: [size]. */
static inline uint8_t *planes_row(const struct planes *planes, int y, int channel)
{
    return planes->bytes + (size_t)y * planes->row_bytes + (size_t)channel * (size_t)planes->size;
}
/* From and to interleaved bytes [size][size][3]. */
void planes_load(struct planes *planes, const uint8_t *rgb);
void planes_save(const struct planes *planes, uint8_t *ret_rgb);

#endif
