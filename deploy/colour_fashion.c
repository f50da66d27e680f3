/* colour_fashion.c - makes the "colour on clutter" variant of Fashion-MNIST as WebDataset tars.
 *
 * Each garment stands at a random scale, place and flip, in a random colour on a random ground, at
 * 32 x 32, fixed per image. Raw pixels are a poor feature of it (kNN about 47 %), so what is
 * learned shows. The same program always makes the same bytes: every number is f(seed, image). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "common/buf.h"
#include "common/command.h"
#include "common/fs.h"
#include "common/mem.h"
#include "common/random.h"
#include "loader/png.h"

enum {
    GARMENT_SIDE = 28,
    PICTURE_SIDE = 32,
    GARMENT_PIXELS = GARMENT_SIDE * GARMENT_SIDE,
    HEADER_IMAGES_BYTES = 16,
    HEADER_LABELS_BYTES = 8,
    TRAIN_COUNT = 60000,
    TEST_COUNT = 10000,
    PNG_BYTES_MAX = 16 << 10,
    READ_BLOCK_BYTES = 64 << 10,
};

struct arguments {
    const char *input;
    int64_t train, test;
    int is_grey;
};

/* Reads exactly length bytes of a gzip file into memory of ours. */
static enum status read_gzip(const char *folder, const char *name, size_t length, uint8_t *into)
{
    enum status status = OK;
    struct archive_entry *entry;
    char *path = mem_format("%s/%s", folder, name);
    struct archive *stream = archive_read_new();
    archive_read_support_filter_gzip(stream);
    archive_read_support_format_raw(stream);
    if (archive_read_open_filename(stream, path, READ_BLOCK_BYTES) != ARCHIVE_OK ||
        archive_read_next_header(stream, &entry) != ARCHIVE_OK)
        status = fail(ERR_INPUT, "cannot read '%s': %s; install the package dataset-fashion-mnist",
                      path, archive_error_string(stream));
    for (size_t done = 0; status == OK && done < length;) {
        la_ssize_t count = archive_read_data(stream, into + done, length - done);
        if (count <= 0)
            status = fail(ERR_CORRUPT, "'%s' ends after %zu of %zu bytes", path, done, length);
        else
            done += (size_t)count;
    }
    archive_read_free(stream);
    mem_free(path);
    return status;
}

static float clamp(float value, float low, float high)
{
    return value < low ? low : value > high ? high : value;
}

static float pixel(const uint8_t *garment, int x, int y)
{
    int is_inside = x >= 0 && x < GARMENT_SIDE && y >= 0 && y < GARMENT_SIDE;
    return is_inside ? garment[y * GARMENT_SIDE + x] / 255.0f : 0.0f;
}

/* Bilinear, zero outside. x and y run over [-1, 1] between the outer edges of the garment, as
 * torch's grid_sample with align_corners=False. */
static float sample(const uint8_t *garment, float x, float y)
{
    float u = ((x + 1) * GARMENT_SIDE - 1) / 2, v = ((y + 1) * GARMENT_SIDE - 1) / 2;
    int left = (int)floorf(u), top = (int)floorf(v);
    float a = u - (float)left, b = v - (float)top;
    return (1 - b) * ((1 - a) * pixel(garment, left, top) + a * pixel(garment, left + 1, top)) +
           b * ((1 - a) * pixel(garment, left, top + 1) + a * pixel(garment, left + 1, top + 1));
}

static void pick_colours(struct random *random, float ground[3], float colour[3])
{
    float distance = 0;
    for (int c = 0; c < 3; c++)
        ground[c] = random_float(random);
    for (int c = 0; c < 3; c++) {
        colour[c] = random_float(random);
        distance += fabsf(colour[c] - ground[c]) / 3;
    }
    for (int c = 0; c < 3 && distance < 0.3f; c++)
        colour[c] = fmodf(ground[c] + 0.5f, 1.0f); /* too alike to see: take the opposite */
}

/* garment u8 [28][28] -> picture u8 [32][32][3]. */
static void tint(const uint8_t *garment, uint64_t seed, uint64_t index, uint8_t *picture)
{
    struct random random;
    float ground[3], colour[3];
    random_init(&random, seed, RANDOM_STREAM_TEST, index, 0);
    float scale =
        1.0f + 0.5f * random_float(&random); /* of the view: larger is a smaller garment */
    float shift_x = (random_float(&random) * 2 - 1) * (scale - 1) * 0.9f;
    float shift_y = (random_float(&random) * 2 - 1) * (scale - 1) * 0.9f;
    float flip = random_float(&random) < 0.5f ? 1.0f : -1.0f;
    pick_colours(&random, ground, colour);
    for (int row = 0; row < PICTURE_SIDE; row++) {
        for (int column = 0; column < PICTURE_SIDE; column++) {
            float x = (2 * (float)column + 1) / PICTURE_SIDE - 1;
            float y = (2 * (float)row + 1) / PICTURE_SIDE - 1;
            float light = sample(garment, scale * flip * x + shift_x, scale * y + shift_y);
            float alpha = clamp(light * 3, 0, 1);
            for (int c = 0; c < 3; c++) {
                float shade = (0.3f + 0.7f * light) * colour[c];
                *picture++ = (uint8_t)((alpha * shade + (1 - alpha) * ground[c]) * 255);
            }
        }
    }
}

static void spread(const uint8_t *garment, uint8_t *picture)
{
    for (int i = 0; i < GARMENT_PIXELS; i++, picture += 3)
        memset(picture, garment[i], 3);
}

static enum status add_member(struct archive *tar, const char *name, const void *bytes,
                              size_t length)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)length);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    int is_bad = archive_write_header(tar, entry) != ARCHIVE_OK ||
                 archive_write_data(tar, bytes, length) != (la_ssize_t)length;
    archive_entry_free(entry);
    return is_bad
               ? fail(ERR_IO, "cannot write '%s' into the tar: %s", name, archive_error_string(tar))
               : OK;
}

static enum status add_sample(struct archive *tar, uint32_t index, const uint8_t *picture,
                              uint32_t side, uint8_t label)
{
    struct buf png;
    char name[24], digits[8];
    buf_init(&png, PNG_BYTES_MAX);
    enum status status = png_encode(picture, side, side, 3, &png);
    snprintf(name, sizeof(name), "%08u.png", index);
    if (status == OK)
        status = add_member(tar, name, png.bytes, png.length);
    snprintf(name, sizeof(name), "%08u.cls", index);
    int length = snprintf(digits, sizeof(digits), "%d", label);
    if (status == OK)
        status = add_member(tar, name, digits, (size_t)length);
    buf_done(&png);
    return status;
}

static enum status write_tar(const char *path, const struct arguments *arguments, uint64_t seed,
                             const uint8_t *images, const uint8_t *labels, uint32_t count)
{
    enum status status = OK;
    uint8_t picture[PICTURE_SIDE * PICTURE_SIDE * 3];
    char *temporary = mem_format("%s.part", path);
    struct archive *tar = archive_write_new();
    archive_write_set_format_ustar(tar);
    if (archive_write_open_filename(tar, temporary) != ARCHIVE_OK)
        status = fail(ERR_IO, "cannot create '%s': %s", temporary, archive_error_string(tar));
    for (uint32_t i = 0; i < count && status == OK; i++) {
        const uint8_t *garment = images + (size_t)i * GARMENT_PIXELS;
        if (arguments->is_grey)
            spread(garment, picture);
        else
            tint(garment, seed, i, picture);
        status = add_sample(tar, i, picture, arguments->is_grey ? GARMENT_SIDE : PICTURE_SIDE,
                            labels[i]);
    }
    if (status == OK && archive_write_close(tar) != ARCHIVE_OK)
        status = fail(ERR_IO, "cannot finish '%s': %s", temporary, archive_error_string(tar));
    archive_write_free(tar);
    if (status == OK)
        status = fs_rename(temporary, path);
    else
        remove(temporary);
    mem_free(temporary);
    return status;
}

static enum status make_split(const char *folder, const struct arguments *arguments,
                              const char *split, const char *prefix, uint64_t seed, uint32_t count)
{
    size_t images_bytes = HEADER_IMAGES_BYTES + (size_t)count * GARMENT_PIXELS;
    size_t labels_bytes = HEADER_LABELS_BYTES + (size_t)count;
    uint8_t *images = mem_alloc(images_bytes);
    uint8_t *labels = mem_alloc(labels_bytes);
    char *images_name = mem_format("%s-images-idx3-ubyte.gz", prefix);
    char *labels_name = mem_format("%s-labels-idx1-ubyte.gz", prefix);
    char *path =
        mem_format("%s/%s-fashion-%s.tar", folder, arguments->is_grey ? "grey" : "colour", split);
    enum status status = read_gzip(arguments->input, images_name, images_bytes, images);
    if (status == OK)
        status = read_gzip(arguments->input, labels_name, labels_bytes, labels);
    if (status == OK)
        status = write_tar(path, arguments, seed, images + HEADER_IMAGES_BYTES,
                           labels + HEADER_LABELS_BYTES, count);
    if (status == OK)
        printf("%s %u\n", path, count);
    mem_free(path);
    mem_free(labels_name);
    mem_free(images_name);
    mem_free(labels);
    mem_free(images);
    return status;
}

static enum status make(const char *folder, const struct arguments *arguments)
{
    TRY(fs_make_directory(folder));
    if (arguments->train > 0)
        TRY(make_split(folder, arguments, "train", "train", 1, (uint32_t)arguments->train));
    if (arguments->test > 0)
        TRY(make_split(folder, arguments, "test", "t10k", 2, (uint32_t)arguments->test));
    return OK;
}

int main(int argc, char **argv)
{
    struct arguments arguments = {
        .input = "/usr/share/datasets/fashion-mnist", .train = TRAIN_COUNT, .test = TEST_COUNT};
    const struct option_row rows[] = {
        {"train", 0, OPTION_INT, &arguments.train, "N", "training images (60000)"},
        {"test", 0, OPTION_INT, &arguments.test, "N", "test images (10000)"},
        {"grey", 0, OPTION_FLAG, &arguments.is_grey, NULL, "the plain garments, 28 x 28"},
        {"input", 0, OPTION_STRING, &arguments.input, "DIR", "where Fashion-MNIST's IDX files are"},
        {0},
    };
    const struct usage usage = {
        .program = "colour-fashion",
        .synopsis = "OUT_DIR [options]",
        .summary =
            "Writes Fashion-MNIST, coloured and on clutter, as WebDataset tars (PNG + .cls).",
        .examples = "  colour-fashion data --train 20000 --test 2000",
        .options = rows,
    };
    int first;
    enum status status = options_parse(&usage, argc, argv, &first);
    if (status == OK && argc - first != 1)
        status = fail(ERR_INPUT, "name one OUT_DIR");
    if (status == OK && (arguments.train < 0 || arguments.train > TRAIN_COUNT ||
                         arguments.test < 0 || arguments.test > TEST_COUNT))
        status =
            fail(ERR_INPUT, "there are %d training and %d test images", TRAIN_COUNT, TEST_COUNT);
    if (status != OK)
        return options_exit(&usage, status);
    status = make(argv[first], &arguments);
    return command_exit(usage.program, status);
}
