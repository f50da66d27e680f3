/* pictures.c - the labelled pictures of a store in memory, and their raw pixels as features. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/pictures.h"

#include <inttypes.h>
#include <string.h>

#include "common/mem.h"
#include "loader/resize.h"
#include "worker/eval/labelled.h"
#include "worker/eval/picture_reader.h"

#define PICTURES_BYTES_MAX (UINT64_C(8) << 30)

static enum status read_all(struct picture_reader *reader, const char *store,
                            struct pictures *pictures)
{
    size_t bytes = (size_t)pictures->size * (size_t)pictures->size * 3;
    for (;;) {
        struct picture picture;
        enum status status = picture_reader_next(reader, &picture);
        if (status == ERR_END)
            return OK;
        TRY(status);
        TRY(label_require(store, picture.shard, picture.record, picture.label));
        memcpy(pictures->pixels + bytes * (size_t)pictures->count, picture.pixels, bytes);
        pictures->labels[pictures->count++] = picture.label;
    }
}

enum status pictures_load(const char *store, int size, uint64_t limit,
                          struct pictures *ret_pictures)
{
    struct picture_reader *reader;
    struct pictures pictures = {.size = size};
    TRY(picture_reader_open(store, size, limit, &reader));
    uint64_t count = picture_reader_count(reader);
    uint64_t bytes = (uint64_t)size * (uint64_t)size * 3;
    enum status status = OK;
    if (count > PICTURES_BYTES_MAX / bytes) {
        status = fail(ERR_INPUT,
                      "store '%s': %" PRIu64 " pictures of %d pixels do not fit in memory; take at "
                      "most %" PRIu64 " with a limit",
                      store, count, size, (uint64_t)(PICTURES_BYTES_MAX / bytes));
    } else {
        pictures.pixels = mem_alloc(count * bytes);
        pictures.labels = mem_alloc(count * sizeof(*pictures.labels));
        status = read_all(reader, store, &pictures);
        pictures.skipped = (int64_t)picture_reader_skipped(reader);
    }
    if (status == OK && pictures.count == 0)
        status = fail(ERR_INPUT, "store '%s': no picture can be decoded", store);
    picture_reader_close(reader);
    if (status == OK)
        *ret_pictures = pictures;
    else
        pictures_done(&pictures);
    return status;
}

void pictures_done(struct pictures *pictures)
{
    mem_free(pictures->pixels);
    mem_free(pictures->labels);
    *pictures = (struct pictures){0};
}

enum status pictures_relabel(struct pictures *pictures, const char *store, const char *reference)
{
    return labelled_renumber(pictures->labels, pictures->count, store, reference);
}

int pictures_pixel_width(int size)
{
    const int small = size < PICTURES_PIXEL_SIZE_MAX ? size : PICTURES_PIXEL_SIZE_MAX;
    return small * small * 3;
}

void pictures_pixels_of(const uint8_t *pixels, int size, int64_t count, float *ret)
{
    const int side = size < PICTURES_PIXEL_SIZE_MAX ? size : PICTURES_PIXEL_SIZE_MAX;
    const int width = pictures_pixel_width(size);
    const size_t picture_bytes = (size_t)size * (size_t)size * 3;
    const struct crop_box whole = {0, 0, size, size};
    struct resize *resize = resize_create();
    struct planes planes = {0};
    uint8_t *small = mem_alloc((size_t)width);
    planes_resize(&planes, side);
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *from = pixels + (size_t)i * picture_bytes;
        if (side != size) {
            resize_box(resize, from, (size_t)size * 3, &whole, 0, &planes);
            planes_save(&planes, small);
            from = small;
        }
        for (int j = 0; j < width; j++)
            ret[i * width + j] = (float)from[j] / 255;
    }
    planes_done(&planes);
    resize_destroy(resize);
    mem_free(small);
}

void pictures_pixel_features(const struct pictures *pictures, struct knn_set *ret_set)
{
    const int width = pictures_pixel_width(pictures->size);
    float *values = mem_array((size_t)pictures->count * (size_t)width, sizeof(*values));
    pictures_pixels_of(pictures->pixels, pictures->size, pictures->count, values);
    *ret_set = (struct knn_set){pictures->count, width, values, pictures->labels};
}
