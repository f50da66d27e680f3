/* jpeg.h - JPEG to RGB through libjpeg-turbo. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_JPEG_H
#define LOADER_JPEG_H

#include "loader/image.h"

/* As image_decode, for bytes that start with a JPEG's magic. */
enum status jpeg_decode(struct image *image, const uint8_t *bytes, size_t length,
                        const struct image_limits *limits);

#endif
