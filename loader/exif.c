/* exif.c - a bounded walk through the first directory of an Exif block. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/exif.h"

#include <string.h>

enum {
    EXIF_HEADER_BYTES = 6, /* "Exif\0\0", after which offsets count */
    TIFF_HEADER_BYTES = 8,
    ENTRY_BYTES = 12,
    TAG_ORIENTATION = 0x0112, /* TIFF 6.0, section 8 */
    TYPE_SHORT = 3,
};

struct tiff {
    const uint8_t *bytes;
    size_t length;
    int is_big_endian;
};

/* The caller has checked that at + 2 (or 4) <= length. */
static uint32_t read_16(const struct tiff *tiff, size_t at)
{
    const uint8_t *b = tiff->bytes + at;
    return tiff->is_big_endian ? (uint32_t)b[0] << 8 | b[1] : (uint32_t)b[1] << 8 | b[0];
}

static uint32_t read_32(const struct tiff *tiff, size_t at)
{
    uint32_t first = read_16(tiff, at), second = read_16(tiff, at + 2);
    return tiff->is_big_endian ? first << 16 | second : second << 16 | first;
}

static int orientation_of(const uint8_t *bytes, size_t length)
{
    if (length < TIFF_HEADER_BYTES)
        return 1;
    struct tiff tiff = {.bytes = bytes, .length = length};
    tiff.is_big_endian = tiff.bytes[0] == 'M';
    if (memcmp(tiff.bytes, tiff.is_big_endian ? "MM\0*" : "II*\0", 4) != 0)
        return 1;
    size_t directory = read_32(&tiff, 4);
    if (directory > tiff.length - 2)
        return 1;
    size_t count = read_16(&tiff, directory);
    for (size_t i = 0; i < count; i++) {
        size_t entry = directory + 2 + i * ENTRY_BYTES;
        if (entry + ENTRY_BYTES > tiff.length)
            return 1;
        if (read_16(&tiff, entry) != TAG_ORIENTATION)
            continue;
        uint32_t value = read_16(&tiff, entry + 8);
        int is_valid = read_16(&tiff, entry + 2) == TYPE_SHORT && value >= 1 && value <= 8;
        return is_valid ? (int)value : 1;
    }
    return 1;
}

static int has_header(const uint8_t *payload, size_t length)
{
    return length >= EXIF_HEADER_BYTES && memcmp(payload, "Exif\0\0", EXIF_HEADER_BYTES) == 0;
}

int exif_orientation(const uint8_t *payload, size_t length)
{
    return has_header(payload, length)
               ? orientation_of(payload + EXIF_HEADER_BYTES, length - EXIF_HEADER_BYTES)
               : 1;
}

int exif_orientation_of_file(const uint8_t *chunk, size_t length)
{
    return has_header(chunk, length) ? exif_orientation(chunk, length)
                                     : orientation_of(chunk, length);
}
