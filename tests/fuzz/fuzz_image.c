/* fuzz_image.c - any file as a picture: refused with a reason, or every pixel is there. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <endian.h>
#include <string.h>

#include "common/check.h"
#include "common/hash.h"
#include "common/mem.h"
#include "loader/exif.h"
#include "loader/image.h"

/* Small enough that no input takes long. */
static const struct image_limits limits = {.max_pixels = 1 << 16, .max_side = 4096, .min_side = 1};
/* What breaks off may be kept in part: nothing of the rest may show. */
static const struct image_limits cut_limits = {
    .max_pixels = 1 << 16, .max_side = 4096, .min_side = 1, .is_cut_fine = 1};

/* CRC-32 of ISO 3309, as PNG wants it (PNG specification, annex D). */
static uint32_t crc(const uint8_t *bytes, size_t length)
{
    uint32_t value = UINT32_MAX;
    for (size_t i = 0; i < length; i++) {
        value ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            value = value >> 1 ^ (value & 1 ? 0xEDB88320 : 0);
    }
    return ~value;
}

/* Makes every chunk's checksum right: no mutation gets past them by itself. */
static void repair_png(uint8_t *bytes, size_t length)
{
    enum { SIGNATURE = 8, AROUND = 12 }; /* bytes of a chunk's length, kind and checksum */
    uint32_t word;
    for (size_t at = SIGNATURE; at + AROUND <= length;) {
        memcpy(&word, bytes + at, sizeof(word));
        size_t body = be32toh(word);
        if (body > length - at - AROUND)
            return;
        word = htobe32(crc(bytes + at + 4, 4 + body));
        memcpy(bytes + at + 8 + body, &word, sizeof(word));
        at += AROUND + body;
    }
}

/* The pixels' hash. Memory left dirty by an earlier picture must not show through. */
static uint64_t decode(struct image *image, const uint8_t *bytes, size_t length,
                       const struct image_limits *within)
{
    if (image_decode(image, bytes, length, within) != OK) {
        CHECK(image->reason > IMAGE_REASON_NONE && image->reason < IMAGE_REASON_COUNT);
        CHECK(image->reason != IMAGE_REASON_IO);
        return 0;
    }
    size_t count = (size_t)image->width * (size_t)image->height * 3;
    CHECK(count > 0 && count <= image->capacity && count <= 3 * (size_t)limits.max_pixels);
    return hash_bytes(image->pixels, count);
}

static void decode_twice(const uint8_t *bytes, size_t length, const struct image_limits *within)
{
    struct image image;
    image_init(&image);
    uint64_t first = decode(&image, bytes, length, within);
    if (image.capacity > 0)
        memset(image.pixels, 0x5A, image.capacity);
    CHECK(decode(&image, bytes, length, within) == first);
    image_done(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    int orientation = exif_orientation(bytes, length);
    CHECK(orientation >= 1 && orientation <= 8);
    orientation = exif_orientation_of_file(bytes, length);
    CHECK(orientation >= 1 && orientation <= 8);
    decode_twice(bytes, length, &limits);
    decode_twice(bytes, length, &cut_limits);
    uint8_t *repaired = mem_alloc(length);
    memcpy(repaired, bytes, length);
    repair_png(repaired, length);
    if (memcmp(repaired, bytes, length) != 0)
        decode_twice(repaired, length, &limits);
    mem_free(repaired);
    return 0;
}
