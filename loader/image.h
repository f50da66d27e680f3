/* image.h - from the bytes of an image file to upright RGB pixels.
 *
 * The kind of file is told by its first bytes, never by its name. Sizes are checked in the header
 * before anything is allocated. What libraries merely warn about (a truncated file, a bad Huffman
 * code) is refused: nobody trains on grey filler. A struct image keeps its memory from one picture
 * to the next; it belongs to one thread at a time. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_IMAGE_H
#define LOADER_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "loader/image_part.h"

/* Why an image is refused. The names are part of the output contract of `seer ingest`. */
enum image_reason {
    IMAGE_REASON_NONE,
    IMAGE_REASON_EMPTY,
    IMAGE_REASON_NOT_AN_IMAGE,
    IMAGE_REASON_UNSUPPORTED,
    IMAGE_REASON_TRUNCATED,
    IMAGE_REASON_CORRUPT,
    IMAGE_REASON_TOO_LARGE,
    IMAGE_REASON_TOO_SMALL,
    IMAGE_REASON_IO, /* could not be read; never said by image_decode */
    IMAGE_REASON_COUNT,
};

/* What a file is by its first bytes. The names are part of the output contract too. */
enum image_format {
    IMAGE_FORMAT_JPEG,
    IMAGE_FORMAT_PNG,
    IMAGE_FORMAT_WEBP,
    IMAGE_FORMAT_GIF,
    IMAGE_FORMAT_OTHER, /* none that is read */
    IMAGE_FORMAT_COUNT,
};

enum image_format image_format_of(const void *bytes, size_t length);
/* "jpeg", "png", ..., "other" */
const char *image_format_name(enum image_format format);

/* "empty", "not_an_image", ... */
const char *image_reason_name(enum image_reason reason);

struct image_limits {
    int64_t max_pixels; /* width * height */
    int32_t max_side;
    int32_t min_side;
    int64_t max_bytes; /* that one decode may take, all buffers together; 0: the default */
    int is_cut_fine;   /* of a sequential JPEG that breaks off, keep the rows that are whole */
};

/* 100 megapixels, sides of 1 to 65,500 (libjpeg's own bound), 1 GiB. */
extern const struct image_limits image_limits_default;

struct image {
    int32_t width;
    int32_t height;
    uint8_t *pixels;          /* [height][width][3] RGB; owned */
    size_t capacity;          /* bytes at pixels */
    uint8_t *scratch;         /* owned; for turning and for alpha */
    size_t scratch_capacity;  /* bytes at scratch */
    enum image_reason reason; /* of the last image_decode */
    int32_t stored_width;     /* as the file says, before EXIF orientation */
    int32_t stored_height;
    int is_cut;                        /* rows are missing below; only with limits.is_cut_fine */
    int32_t whole_width, whole_height; /* of the picture of which pixels show a part, upright */
    struct image_part part;            /* what they show: all of it, unless a wish was given */
    int is_handed_on;                  /* the wish's take_rows had all rows: pixels are undefined */
};

void image_init(struct image *image);
void image_done(struct image *image);
/* Decodes JPEG (grey, YCbCr, RGB, CMYK, YCCK; baseline, progressive), PNG (all kinds; 16 bits
 * rounded to 8), WebP and GIF (the first frame). Alpha is laid over white; EXIF orientation is
 * applied. A JPEG that is over the limits is decoded at 1/2, 1/4 or 1/8 of its size, up to a
 * gigapixel. With is_cut_fine a JPEG of one pass that breaks off in its lower half gives what is
 * above. ERR_CORRUPT: image->reason says why, the message in words; pixels are then undefined.
 * limits may be NULL for the default. */
enum status image_decode(struct image *image, const void *bytes, size_t length,
                         const struct image_limits *limits);
/* As image_decode, but pixels need show only what is wished for; they show more where the decoder
 * has no way to leave it out. Unless it is shrunk, what is wished for has the very pixels that
 * image_decode gives it. A file that is damaged behind it may pass. */
enum status image_decode_part(struct image *image, const void *bytes, size_t length,
                              const struct image_limits *limits, const struct image_wish *wish);

/* For decoders: checks the header's size against limits, with all the bytes that the decoder will
 * take beside the pixels, and makes room for the pixels. */
enum status image_reserve(struct image *image, uint32_t width, uint32_t height, size_t extra_bytes,
                          const struct image_limits *limits);
/* 1 if image_reserve would not call it too large. */
int image_fits(uint32_t width, uint32_t height, size_t extra_bytes,
               const struct image_limits *limits);
/* rgba [count][4] over white, into rgb [count][3]. */
void image_flatten(const uint8_t *rgba, uint8_t *rgb, size_t count);
/* For decoders: scratch of at least this many bytes (bounded by the checked size). */
uint8_t *image_scratch(struct image *image, size_t bytes);
/* Sets the reason and fails with ERR_CORRUPT and these words. */
enum status image_refuse(struct image *image, enum image_reason reason, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Turns pixels by an EXIF orientation, 1 to 8 (TIFF 6.0 tag 274). */
void image_turn(struct image *image, int orientation);

#endif
