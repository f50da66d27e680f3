/* png.h - PNG to RGB and back through libpng. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_PNG_H
#define LOADER_PNG_H

#include "common/buf.h"
#include "loader/image.h"

/* As image_decode, for bytes that start with PNG's magic.
 */
enum status png_decode(struct image *image, const uint8_t *bytes, size_t length,
                       const struct image_limits *limits);
/* Appends pixels [height][width][channels] (1: grey, 3: RGB) to out as a PNG file. */
enum status png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, int channels,
                       struct buf *out);

#endif
