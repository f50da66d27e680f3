/* jpeg.h - JPEG to RGB through libjpeg-turbo. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_JPEG_H
#define LOADER_JPEG_H

#include "loader/image.h"

/* As image_decode_part, for bytes that start with a JPEG's magic. wish may be NULL; it is not
 * followed with is_cut_fine, and image->part then stays as it is. Of a file of several scans all is
 * decoded, but shrunk. */
enum status jpeg_decode(struct image *image, const uint8_t *bytes, size_t length,
                        const struct image_limits *limits, const struct image_wish *wish);

#endif
