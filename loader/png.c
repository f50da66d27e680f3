/* png.c - libpng from memory to memory, with its errors turned into a status. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/png.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

#include "loader/exif.h"

enum {
    CHUNK_BYTES_MAX = 8 << 20, /* text, profiles: nothing we read */
    CHUNKS_MAX = 1000,
};

struct decoder {
    png_structp png;
    png_infop info;
    const uint8_t *at;
    size_t left;
    struct image *image;
    enum image_reason reason;
    int has_alpha;
    int passes; /* over the rows */
    char words[160];
};

static void on_error(png_structp png, png_const_charp words)
{
    struct decoder *decoder = png_get_error_ptr(png);
    snprintf(decoder->words, sizeof(decoder->words), "%s", words);
    png_longjmp(png, 1);
}

/* Warnings of libpng concern chunks that we do not use, such as colour profiles. */
static void on_warning(png_structp png, png_const_charp words)
{
    (void)png;
    (void)words;
}

static void read_bytes(png_structp png, png_bytep into, size_t length)
{
    struct decoder *decoder = png_get_io_ptr(png);
    if (length > decoder->left) {
        decoder->reason = IMAGE_REASON_TRUNCATED;
        png_error(png, "the file ends too early");
    }
    memcpy(into, decoder->at, length);
    decoder->at += length;
    decoder->left -= length;
}

/* Interlaced files come in seven passes over all rows, each filling in more pixels; so their alpha
 * is kept whole, that of others row by row. */
static int keeps_all_rows(const struct decoder *decoder)
{
    return decoder->has_alpha && decoder->passes > 1;
}

static void read_rows(struct decoder *decoder)
{
    struct image *image = decoder->image;
    size_t width = (size_t)image->width, height = (size_t)image->height;
    int keeps_all = keeps_all_rows(decoder);
    uint8_t *rgba =
        decoder->has_alpha ? image_scratch(image, width * 4 * (keeps_all ? height : 1)) : NULL;
    for (int pass = 0; pass < decoder->passes; pass++) {
        for (size_t y = 0; y < height; y++) {
            uint8_t *rgb = image->pixels + y * width * 3;
            png_read_row(decoder->png,
                         !decoder->has_alpha ? rgb : rgba + (keeps_all ? y * width * 4 : 0), NULL);
            if (decoder->has_alpha && !keeps_all)
                image_flatten(rgba, rgb, width);
        }
    }
    if (keeps_all)
        image_flatten(rgba, image->pixels, width * height);
}

/* eXIf may stand behind the pixels, so it is known at the end alone. */
static enum status turn(struct decoder *decoder, const struct image_limits *limits)
{
    struct image *image = decoder->image;
    png_uint_32 length = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(decoder->png, decoder->info, &length, &exif) == 0)
        return OK;
    int orientation = exif_orientation_of_file(exif, length);
    size_t turned = (size_t)image->width * (size_t)image->height * 3;
    if (orientation > 1 &&
        !image_fits((uint32_t)image->width, (uint32_t)image->height, turned, limits))
        return image_refuse(image, IMAGE_REASON_TOO_LARGE, "PNG: too large to be turned");
    image_turn(image, orientation);
    return OK;
}

static enum status decode(struct decoder *decoder, const struct image_limits *limits)
{
    png_structp png = decoder->png;
    if (setjmp(png_jmpbuf(png)) != 0)
        return image_refuse(decoder->image, decoder->reason, "PNG: %s", decoder->words);
    png_set_read_fn(png, decoder, read_bytes);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* ours below are reported better */
    png_set_chunk_malloc_max(png, CHUNK_BYTES_MAX);
    png_set_chunk_cache_max(png, CHUNKS_MAX);
    png_read_info(png, decoder->info);
    uint32_t width = png_get_image_width(png, decoder->info);
    uint32_t height = png_get_image_height(png, decoder->info);
    decoder->has_alpha = (png_get_color_type(png, decoder->info) & PNG_COLOR_MASK_ALPHA) != 0 ||
                         png_get_valid(png, decoder->info, PNG_INFO_tRNS) != 0;
    decoder->passes = png_get_interlace_type(png, decoder->info) == PNG_INTERLACE_NONE
                          ? 1
                          : PNG_INTERLACE_ADAM7_PASSES;
    TRY(image_reserve(
        decoder->image, width, height,
        decoder->has_alpha ? (size_t)width * 4 * (keeps_all_rows(decoder) ? height : 1) : 0,
        limits));
    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, decoder->info);
    read_rows(decoder);
    png_read_end(png, decoder->info);
    return turn(decoder, limits);
}

enum status png_decode(struct image *image, const uint8_t *bytes, size_t length,
                       const struct image_limits *limits)
{
    struct decoder decoder = {
        .at = bytes, .left = length, .image = image, .reason = IMAGE_REASON_CORRUPT};
    decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, on_error, on_warning);
    if (decoder.png == NULL)
        return fail(ERR_INPUT, "libpng %s does not match its header: install libpng-dev anew",
                    png_get_libpng_ver(NULL));
    decoder.info = png_create_info_struct(decoder.png);
    enum status status = decode(&decoder, limits);
    png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
    return status;
}

struct encoder {
    struct buf *out;
};

static void write_bytes(png_structp png, png_bytep bytes, size_t length)
{
    struct encoder *encoder = png_get_io_ptr(png);
    if (buf_append(encoder->out, bytes, length) != OK)
        png_error(png, "full");
}

static void flush_nothing(png_structp png)
{
    (void)png;
}

static void on_encode_error(png_structp png, png_const_charp words)
{
    (void)words;
    png_longjmp(png, 1);
}

static enum status encode(png_structp png, png_infop info, const uint8_t *pixels, uint32_t width,
                          uint32_t height, int channels)
{
    if (setjmp(png_jmpbuf(png)) != 0)
        return fail_add(ERR_INPUT, "cannot encode a PNG of %u x %u", width, height);
    png_set_IHDR(png, info, width, height, 8,
                 channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (uint32_t y = 0; y < height; y++)
        png_write_row(png, pixels + (size_t)y * width * (size_t)channels);
    png_write_end(png, info);
    return OK;
}

enum status png_encode(const uint8_t *pixels, uint32_t width, uint32_t height, int channels,
                       struct buf *out)
{
    struct encoder encoder = {.out = out};
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, on_encode_error, on_warning);
    if (png == NULL)
        return fail(ERR_INPUT, "libpng %s does not match its header: install libpng-dev anew",
                    png_get_libpng_ver(NULL));
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &encoder, write_bytes, flush_nothing);
    enum status status = encode(png, info, pixels, width, height, channels);
    png_destroy_write_struct(&png, &info);
    return status;
}
