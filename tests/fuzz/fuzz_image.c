/* fuzz_image.c - any file as a picture: refused with a reason, or every pixel is there. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/check.h"
#include "common/hash.h"
#include "loader/exif.h"
#include "loader/image.h"

/* Small enough that no input takes long. */
static const struct image_limits limits = {.max_pixels = 1 << 16, .max_side = 4096, .min_side = 1};

/* The pixels' hash. Memory left dirty by an earlier picture must not show through. */
static uint64_t decode(struct image *image, const uint8_t *bytes, size_t length)
{
    if (image_decode(image, bytes, length, &limits) != OK) {
        CHECK(image->reason > IMAGE_REASON_NONE && image->reason < IMAGE_REASON_COUNT);
        CHECK(image->reason != IMAGE_REASON_IO);
        return 0;
    }
    size_t count = (size_t)image->width * (size_t)image->height * 3;
    CHECK(count > 0 && count <= image->capacity && count <= 3 * (size_t)limits.max_pixels);
    return hash_bytes(image->pixels, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct image image;
    int orientation = exif_orientation(bytes, length);
    CHECK(orientation >= 1 && orientation <= 8);
    image_init(&image);
    uint64_t first = decode(&image, bytes, length);
    if (image.capacity > 0)
        memset(image.pixels, 0x5A, image.capacity);
    CHECK(decode(&image, bytes, length) == first);
    image_done(&image);
    return 0;
}
