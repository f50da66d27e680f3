/* image_part.h - which part of a picture is wanted, and how much smaller than it is.
 *
 * Crops seldom reach into every corner of a picture, and large pictures are shrunk by all of them.
 * Who cuts says so as soon as the size is known, and the decoder leaves out what it can. Rectangles
 * are in pixels of the whole picture. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_IMAGE_PART_H
#define LOADER_IMAGE_PART_H

#include <stdint.h>

/* A decoded pixel stands for a square of `shrink` pixels a side. At the right and at the bottom, or
 * where orientation turns those to, the outermost squares may reach beyond the picture. */
struct image_part {
    int32_t x, y, width, height;
    int32_t shrink; /* 1, 2, 4 or 8 */
};

enum { IMAGE_STRIP = 32 }; /* rows that a decoder hands on together */

struct image;
struct image_wish {
    /* What is wanted of a picture of width x height pixels, upright: inside it and not empty.
     * `shrink` is the most that it may be decoded smaller by. */
    struct image_part (*part_of)(void *context, int32_t width, int32_t height);
    /* Takes rows of image->part as they come, while the CPU has them at hand: first is a multiple
     * of IMAGE_STRIP, count is IMAGE_STRIP but for the last. rgb: [count][image->width][3], the
     * next strip overwrites it. An image that fails may have handed on some. NULL: image->pixels
     * get all. */
    void (*take_rows)(void *context, const struct image *image, const uint8_t *rgb, int32_t first,
                      int32_t count);
    void *context; /* borrowed */
};

/* Where a part of a picture of width x height lies once that is turned by an EXIF orientation. */
struct image_part image_part_turned(struct image_part part, int orientation, int32_t width,
                                    int32_t height);
/* The way back: width and height are of the upright picture. */
struct image_part image_part_unturned(struct image_part part, int orientation, int32_t width,
                                      int32_t height);

#endif
