/* resize.h - a rectangle of an image scaled to a square as Pillow's BILINEAR does it.
 *
 * Pillow's Resample.c: a triangle filter that widens when shrinking (support max(1, scale)),
 * weights in 22-bit fixed point, rows first with an 8-bit result, then columns. All of it is
 * integer arithmetic on nonnegative weights, so the bytes equal Pillow's and do not depend on the
 * CPU. One thread per struct resize; allocates only when it meets more, or larger, rectangles than
 * ever before. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_RESIZE_H
#define LOADER_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "loader/crop.h"
#include "loader/image_part.h"
#include "loader/planes.h"

struct resize;

struct resize *resize_create(void);
void resize_destroy(struct resize *resize); /* NULL is fine */
/* Scales box of a whole picture to window->width x window->height and keeps of that the square of
 * planes' size whose corner is (window->x, window->y), which must lie within: what Resize and
 * CenterCrop do. */
void resize_window(struct resize *resize, const uint8_t *rgb, size_t row_bytes,
                   const struct crop_box *box, const struct crop_box *window, int is_flipped,
                   struct planes *planes);
/* Scales `box` of a whole picture (u8 RGB, row_bytes from row to row) to fill planes, which has its
 * size; mirrored left to right when is_flipped. */
void resize_box(struct resize *resize, const uint8_t *rgb, size_t row_bytes,
                const struct crop_box *box, int is_flipped, struct planes *planes);

struct resize_crop {
    struct crop_box box;   /* in pixels of the whole picture */
    int is_flipped;        /* left to right */
    struct planes *planes; /* filled; it has its size. Borrowed */
};
/* As resize_box, for several boxes of one picture, each to fill its planes: begin, then every strip
 * of rows from top to bottom, once for all boxes, then end. `part` of the picture is there, and all
 * boxes lie in it; where it is shrunk, they may begin and end between two of its pixels. */
void resize_begin(struct resize *resize, const struct image_part *part,
                  const struct resize_crop *crops, int count);
/* Rows of the part, as image_wish.take_rows has them. */
void resize_strip(struct resize *resize, const uint8_t *rgb, size_t row_bytes, int first,
                  int count);
/* All strips of a part that lies there as a whole. */
void resize_rows(struct resize *resize, const uint8_t *rgb, size_t row_bytes);
void resize_end(struct resize *resize);

#endif
