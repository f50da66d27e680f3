/* gif.h - the first frame of a GIF, to RGB, through giflib. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_GIF_H
#define LOADER_GIF_H

#include "loader/image.h"

/* As image_decode, for bytes that start with "GIF8". The canvas is white, as is what is
 * transparent; a frame that is larger than the canvas makes it larger, as in Pillow. */
enum status gif_decode(struct image *image, const uint8_t *bytes, size_t length,
                       const struct image_limits *limits);

#endif
