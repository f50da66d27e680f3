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

/* Any rectangle of a picture, as the file's own bytes have it. */
static struct image_part part_of(void *context, int32_t width, int32_t height)
{
    const uint64_t draw = *(const uint64_t *)context;
    struct image_part part = {.x = (int32_t)(draw % (uint64_t)width),
                              .y = (int32_t)((draw >> 13) % (uint64_t)height),
                              .shrink = 1 << (draw >> 62)};
    part.width = 1 + (int32_t)((draw >> 26) % (uint64_t)(width - part.x));
    part.height = 1 + (int32_t)((draw >> 39) % (uint64_t)(height - part.y));
    return part;
}

static void take_rows(void *context, const struct image *image, const uint8_t *rgb, int32_t first,
                      int32_t count)
{
    CHECK(first % IMAGE_STRIP == 0 && count > 0 && first + count <= image->height);
    *(uint64_t *)context ^= hash_bytes(rgb, (size_t)count * (size_t)image->width * 3);
}

/* What decodes as a whole does so in part, with the same pixels unless they are shrunk. */
static void decode_part(const uint8_t *bytes, size_t length, uint64_t draw)
{
    struct image whole, some;
    image_init(&whole);
    image_init(&some);
    int is_whole = image_decode(&whole, bytes, length, &limits) == OK;
    struct image_wish wish = {.part_of = part_of, .context = &draw};
    int is_some = image_decode_part(&some, bytes, length, &limits, &wish) == OK;
    CHECK(is_some || !is_whole);
    if (is_whole && some.part.shrink == 1) {
        struct image_part part = part_of(&draw, whole.width, whole.height);
        for (int32_t y = part.y; y < part.y + part.height; y++) {
            size_t is = (size_t)(y - some.part.y) * (size_t)some.width;
            size_t want = (size_t)y * (size_t)whole.width;
            CHECK(memcmp(some.pixels + (is + (size_t)(part.x - some.part.x)) * 3,
                         whole.pixels + (want + (size_t)part.x) * 3, (size_t)part.width * 3) == 0);
        }
    }
    wish.take_rows = take_rows;
    (void)image_decode_part(&some, bytes, length, &limits, &wish);
    image_done(&whole);
    image_done(&some);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    int orientation = exif_orientation(bytes, length);
    CHECK(orientation >= 1 && orientation <= 8);
    orientation = exif_orientation_of_file(bytes, length);
    CHECK(orientation >= 1 && orientation <= 8);
    decode_twice(bytes, length, &limits);
    decode_twice(bytes, length, &cut_limits);
    decode_part(bytes, length, hash_bytes(bytes, length) & UINT64_MAX >> 2);
    decode_part(bytes, length, hash_bytes(bytes, length));
    uint8_t *repaired = mem_alloc(length);
    memcpy(repaired, bytes, length);
    repair_png(repaired, length);
    if (memcmp(repaired, bytes, length) != 0)
        decode_twice(repaired, length, &limits);
    mem_free(repaired);
    return 0;
}
