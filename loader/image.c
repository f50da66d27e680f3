/* image.c - which decoder, which limits, which way up. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/image.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "loader/gif.h"
#include "loader/jpeg.h"
#include "loader/png.h"
#include "loader/webp.h"

const struct image_limits image_limits_default = {
    .max_pixels = 100 * 1000 * 1000, .max_side = 65500, .min_side = 1, .max_bytes = 1 << 30};

static const char *const reason_names[IMAGE_REASON_COUNT] = {
    "none",    "empty",     "not_an_image", "unsupported", "truncated",
    "corrupt", "too_large", "too_small",    "io"};

const char *image_reason_name(enum image_reason reason)
{
    CHECK(reason >= 0 && reason < IMAGE_REASON_COUNT);
    return reason_names[reason];
}

static int starts_with(const uint8_t *bytes, size_t length, size_t at, const char *magic,
                       size_t magic_length)
{
    return length >= at + magic_length && memcmp(bytes + at, magic, magic_length) == 0;
}

enum image_format image_format_of(const void *bytes, size_t length)
{
    if (starts_with(bytes, length, 0, "\xFF\xD8\xFF", 3))
        return IMAGE_FORMAT_JPEG;
    if (starts_with(bytes, length, 0, "\x89PNG\r\n\x1A\n", 8))
        return IMAGE_FORMAT_PNG;
    if (starts_with(bytes, length, 0, "RIFF", 4) && starts_with(bytes, length, 8, "WEBP", 4))
        return IMAGE_FORMAT_WEBP;
    if (starts_with(bytes, length, 0, "GIF8", 4))
        return IMAGE_FORMAT_GIF;
    return IMAGE_FORMAT_OTHER;
}

const char *image_format_name(enum image_format format)
{
    static const char *const names[IMAGE_FORMAT_COUNT] = {"jpeg", "png", "webp", "gif", "other"};
    CHECK(format >= 0 && format < IMAGE_FORMAT_COUNT);
    return names[format];
}

void image_init(struct image *image)
{
    *image = (struct image){0};
}

void image_done(struct image *image)
{
    mem_free(image->pixels);
    mem_free(image->scratch);
    *image = (struct image){0};
}

enum status image_refuse(struct image *image, enum image_reason reason, const char *format, ...)
{
    char words[256];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    image->reason = reason;
    return fail(ERR_CORRUPT, "%s", words);
}

static uint64_t budget(const struct image_limits *limits)
{
    return (uint64_t)(limits->max_bytes > 0 ? limits->max_bytes : image_limits_default.max_bytes);
}

static int is_within(uint32_t width, uint32_t height, const struct image_limits *limits)
{
    uint64_t max_side = (uint64_t)limits->max_side;
    return (uint64_t)width * height <= (uint64_t)limits->max_pixels && width <= max_side &&
           height <= max_side;
}

int image_fits(uint32_t width, uint32_t height, size_t extra_bytes,
               const struct image_limits *limits)
{
    return is_within(width, height, limits) &&
           (uint64_t)width * height * 3 + extra_bytes <= budget(limits);
}

enum status image_reserve(struct image *image, uint32_t width, uint32_t height, size_t extra_bytes,
                          const struct image_limits *limits)
{
    uint64_t pixels = (uint64_t)width * height;
    if (!is_within(width, height, limits))
        return image_refuse(image, IMAGE_REASON_TOO_LARGE,
                            "%u x %u pixels are over the limit of %lld pixels, %d a side", width,
                            height, (long long)limits->max_pixels, limits->max_side);
    if (!image_fits(width, height, extra_bytes, limits))
        return image_refuse(image, IMAGE_REASON_TOO_LARGE,
                            "decoding %u x %u pixels takes %llu MB, over the limit of %llu MB",
                            width, height, (unsigned long long)((pixels * 3 + extra_bytes) >> 20),
                            (unsigned long long)(budget(limits) >> 20));
    uint32_t min_side = limits->min_side < 1 ? 1 : (uint32_t)limits->min_side;
    if (width < min_side || height < min_side)
        return image_refuse(image, IMAGE_REASON_TOO_SMALL,
                            "%u x %u pixels are under the limit of %u a side", width, height,
                            min_side);
    size_t bytes = (size_t)pixels * 3;
    if (bytes > image->capacity) {
        mem_free(image->pixels);
        image->pixels = mem_alloc(bytes);
        image->capacity = bytes;
    }
    image->width = image->stored_width = (int32_t)width;
    image->height = image->stored_height = (int32_t)height;
    return OK;
}

void image_flatten(const uint8_t *rgba, uint8_t *rgb, size_t count)
{
    for (size_t i = 0; i < count; i++, rgba += 4, rgb += 3) {
        unsigned alpha = rgba[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)((rgba[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

uint8_t *image_scratch(struct image *image, size_t bytes)
{
    if (bytes > image->scratch_capacity) {
        mem_free(image->scratch);
        image->scratch = mem_alloc(bytes);
        image->scratch_capacity = bytes;
    }
    return image->scratch;
}

/* Where pixel (x, y) of a width x height picture goes, in the turned one of turned_width. The value
 * says on which side row 0 and column 0 of the file belong (TIFF 6.0, tag Orientation). */
static size_t turned_index(int orientation, int32_t x, int32_t y, int32_t width, int32_t height)
{
    switch (orientation) {
    case 2:
        return (size_t)y * width + (width - 1 - x);
    case 3:
        return (size_t)(height - 1 - y) * width + (width - 1 - x);
    case 4:
        return (size_t)(height - 1 - y) * width + x;
    case 5:
        return (size_t)x * height + y;
    case 6:
        return (size_t)x * height + (height - 1 - y);
    case 7:
        return (size_t)(width - 1 - x) * height + (height - 1 - y);
    case 8:
        return (size_t)(width - 1 - x) * height + y;
    default:
        return (size_t)y * width + x;
    }
}

void image_turn(struct image *image, int orientation)
{
    if (orientation <= 1 || orientation > 8)
        return;
    int32_t width = image->width, height = image->height;
    uint8_t *turned = image_scratch(image, (size_t)width * height * 3);
    const uint8_t *from = image->pixels;
    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width; x++, from += 3)
            memcpy(turned + 3 * turned_index(orientation, x, y, width, height), from, 3);
    }
    image->scratch = image->pixels;
    image->pixels = turned;
    size_t capacity = image->capacity;
    image->capacity = image->scratch_capacity;
    image->scratch_capacity = capacity;
    if (orientation >= 5) {
        image->width = height;
        image->height = width;
    }
}

/* Kinds that people really have and we do not read yet: named, so that they know what to convert.
 */
static const struct {
    const char *name;
    size_t at;
    const char *magic;
    size_t length;
} unsupported[] = {
    {"TIFF", 0, "II*\0", 4},        {"TIFF", 0, "MM\0*", 4},       {"BMP", 0, "BM", 2},
    {"HEIC or AVIF", 4, "ftyp", 4}, {"JPEG XL", 0, "\xFF\x0A", 2}, {"JPEG XL", 4, "JXL ", 4},
    {"JPEG 2000", 4, "jP  ", 4},    {"Photoshop", 0, "8BPS", 4},
};

static enum status refuse_kind(struct image *image, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < sizeof(unsupported) / sizeof(unsupported[0]); i++) {
        if (starts_with(bytes, length, unsupported[i].at, unsupported[i].magic,
                        unsupported[i].length))
            return image_refuse(image, IMAGE_REASON_UNSUPPORTED,
                                "%s is not supported: convert it to JPEG, PNG or WebP",
                                unsupported[i].name);
    }
    return image_refuse(image, IMAGE_REASON_NOT_AN_IMAGE,
                        "no image that is known by its first bytes");
}

static enum status decode_format(struct image *image, const void *bytes, size_t length,
                                 const struct image_limits *limits, const struct image_wish *wish)
{
    switch (image_format_of(bytes, length)) {
    case IMAGE_FORMAT_JPEG:
        return jpeg_decode(image, bytes, length, limits, wish);
    case IMAGE_FORMAT_PNG:
        return png_decode(image, bytes, length, limits);
    case IMAGE_FORMAT_WEBP:
        return webp_decode(image, bytes, length, limits);
    case IMAGE_FORMAT_GIF:
        return gif_decode(image, bytes, length, limits);
    case IMAGE_FORMAT_OTHER:
    case IMAGE_FORMAT_COUNT: /* their number, none of them */
        break;
    }
    return refuse_kind(image, bytes, length);
}

enum status image_decode_part(struct image *image, const void *bytes, size_t length,
                              const struct image_limits *limits, const struct image_wish *wish)
{
    if (limits == NULL)
        limits = &image_limits_default;
    image->reason = IMAGE_REASON_NONE;
    image->is_cut = 0;
    image->is_handed_on = 0;
    image->part.shrink = 0; /* a decoder that has the wish fulfilled says what it decoded */
    if (length == 0)
        return image_refuse(image, IMAGE_REASON_EMPTY, "no bytes at all");
    TRY(decode_format(image, bytes, length, limits, wish));
    if (image->part.shrink > 0)
        return OK;
    image->whole_width = image->width;
    image->whole_height = image->height;
    image->part = (struct image_part){.width = image->width, .height = image->height, .shrink = 1};
    return OK;
}

enum status image_decode(struct image *image, const void *bytes, size_t length,
                         const struct image_limits *limits)
{
    return image_decode_part(image, bytes, length, limits, NULL);
}
