/* png.c - libpng from memory to memory, with its errors turned into a status. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/png.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <png.h>

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

static void flatten_on_white(const uint8_t *rgba, uint8_t *rgb, size_t pixels)
{
    for (size_t i = 0; i < pixels; i++, rgba += 4, rgb += 3) {
        unsigned alpha = rgba[3];
        for (int c = 0; c < 3; c++)
            rgb[c] = (uint8_t)((rgba[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
}

/* Interlaced files come in seven passes over all rows, each filling in more pixels. */
static void read_rows(struct decoder *decoder)
{
    struct image *image = decoder->image;
    size_t pixels = (size_t)image->width * (size_t)image->height;
    int has_alpha = png_get_channels(decoder->png, decoder->info) == 4;
    uint8_t *rows = has_alpha ? image_scratch(image, pixels * 4) : image->pixels;
    size_t stride = (size_t)image->width * (has_alpha ? 4 : 3);
    int passes = png_set_interlace_handling(decoder->png);
    for (int pass = 0; pass < passes; pass++) {
        for (int32_t y = 0; y < image->height; y++)
            png_read_row(decoder->png, rows + (size_t)y * stride, NULL);
    }
    if (has_alpha)
        flatten_on_white(rows, image->pixels, pixels);
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
    TRY(image_reserve(decoder->image, png_get_image_width(png, decoder->info),
                      png_get_image_height(png, decoder->info), limits));
    png_set_expand(png);
    png_set_strip_16(png);
    png_set_gray_to_rgb(png);
    png_set_interlace_handling(png);
    png_read_update_info(png, decoder->info);
    read_rows(decoder);
    png_read_end(png, NULL);
    return OK;
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
