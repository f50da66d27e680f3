/* webp.h - WebP to RGB through libwebp: lossy, lossless, the first frame of an animation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_WEBP_H
#define LOADER_WEBP_H

#include "loader/image.h"

/* As image_decode, for bytes that start as a RIFF of kind WEBP. A frame smaller than its canvas
 * stands on white. */
enum status webp_decode(struct image *image, const uint8_t *bytes, size_t length,
                        const struct image_limits *limits);

#endif
