/* exif.h - the orientation a camera wrote into a picture. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_EXIF_H
#define LOADER_EXIF_H

#include <stddef.h>
#include <stdint.h>

/* Orientation (1 to 8) in the payload of a JPEG's APP1 segment; 1 if it is not Exif, says nothing
 * or is malformed. Reads within [payload, payload + length) only. */
int exif_orientation(const uint8_t *payload, size_t length);
/* The same of an EXIF chunk of WebP or an eXIf chunk of PNG: with the words "Exif", 0, 0 or not. */
int exif_orientation_of_file(const uint8_t *chunk, size_t length);

#endif
