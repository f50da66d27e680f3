/* picture_reader.c - the pictures of a store, one after another, all of one size. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/picture_reader.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "loader/image.h"
#include "loader/resize.h"
#include "loader/shard.h"
#include "loader/store.h"

struct picture_reader {
    struct store store;
    int size;
    struct subset chosen;
    uint64_t next; /* index among the chosen */
    uint64_t skipped;

    uint32_t shard_index; /* of the open one */
    uint64_t shard_first; /* its first record among all of the store */
    struct shard *shard;  /* NULL: none is open */
    struct shard_reader *shard_reader;

    struct image image;
    struct resize *resize;
    struct planes planes;
    uint8_t *pixels;
};

enum status picture_reader_open_chosen(const char *store, int size, struct subset *chosen,
                                       struct picture_reader **ret_reader)
{
    struct picture_reader *reader = mem_zero(sizeof(*reader));
    enum status status = store_load(store, &reader->store);
    if (status == OK && reader->store.record_count == 0)
        status = fail(ERR_INPUT, "store '%s' has no images: fill it with 'seer ingest'", store);
    if (status != OK) {
        store_done(&reader->store);
        mem_free(reader);
        return status;
    }
    reader->size = size;
    reader->resize = resize_create();
    reader->pixels = mem_array((size_t)size * (size_t)size, 3);
    image_init(&reader->image);
    reader->chosen = *chosen;
    *chosen = (struct subset){0};
    *ret_reader = reader;
    return OK;
}

enum status picture_reader_open(const char *store, int size, uint64_t limit,
                                struct picture_reader **ret_reader)
{
    struct picture_reader *reader;
    struct subset none = {0};
    TRY(picture_reader_open_chosen(store, size, &none, &reader));
    subset_sample(reader->store.record_count, limit, &reader->chosen);
    *ret_reader = reader;
    return OK;
}

static void close_shard(struct picture_reader *reader)
{
    shard_reader_close(reader->shard_reader);
    shard_close(reader->shard);
    reader->shard_reader = NULL;
    reader->shard = NULL;
}

void picture_reader_close(struct picture_reader *reader)
{
    if (reader == NULL)
        return;
    close_shard(reader);
    image_done(&reader->image);
    resize_destroy(reader->resize);
    planes_done(&reader->planes);
    mem_free(reader->pixels);
    subset_done(&reader->chosen);
    store_done(&reader->store);
    mem_free(reader);
}

uint64_t picture_reader_count(const struct picture_reader *reader)
{
    return reader->chosen.count;
}

uint64_t picture_reader_skipped(const struct picture_reader *reader)
{
    return reader->skipped;
}

/* Makes the shard that holds record `index` of the store the open one. */
static enum status seek_shard(struct picture_reader *reader, uint64_t index)
{
    uint32_t shard = reader->shard_index;
    uint64_t first = reader->shard_first;
    while (index - first >= reader->store.shards[shard].record_count)
        first += reader->store.shards[shard++].record_count;
    if (reader->shard != NULL && shard == reader->shard_index)
        return OK;
    close_shard(reader);
    reader->shard_index = shard;
    reader->shard_first = first;
    TRY(shard_open(reader->store.shards[shard].path, &reader->shard));
    return shard_reader_open(reader->shard, &reader->shard_reader);
}

static void fit(struct picture_reader *reader)
{
    const struct image *image = &reader->image;
    int size = reader->size;
    size_t row_bytes = (size_t)image->width * 3;
    if (image->width == size && image->height == size) {
        memcpy(reader->pixels, image->pixels, row_bytes * (size_t)size);
        return;
    }
    /* torchvision's Resize(shorter) and CenterCrop(size): 256 and 224 or in their ratio. */
    const struct crop_box whole = {.width = image->width, .height = image->height};
    const int shorter = (int)lround(size * 256.0 / 224.0);
    struct crop_box window = {.width = shorter, .height = shorter};
    if (image->width > image->height)
        window.width = (int)((int64_t)shorter * image->width / image->height);
    else
        window.height = (int)((int64_t)shorter * image->height / image->width);
    window.x = (int)lrint((window.width - size) / 2.0);
    window.y = (int)lrint((window.height - size) / 2.0);
    planes_resize(&reader->planes, size);
    resize_window(reader->resize, image->pixels, row_bytes, &whole, &window, 0, &reader->planes);
    planes_save(&reader->planes, reader->pixels);
}

static enum status read_record(struct picture_reader *reader, uint64_t index,
                               struct picture *ret_picture)
{
    struct record record;
    TRY(seek_shard(reader, index));
    ret_picture->shard = reader->store.shards[reader->shard_index].name;
    ret_picture->record = (uint32_t)(index - reader->shard_first);
    TRY(shard_read(reader->shard_reader, ret_picture->record, &record));
    TRY(image_decode(&reader->image, record.bytes, record.length, NULL));
    fit(reader);
    ret_picture->index = index;
    ret_picture->label = record.label;
    ret_picture->pixels = reader->pixels;
    return OK;
}

enum status picture_reader_next(struct picture_reader *reader, struct picture *ret_picture)
{
    struct picture picture = {0};
    while (reader->next < reader->chosen.count) {
        uint64_t index = reader->chosen.items[reader->next++];
        enum status status = read_record(reader, index, &picture);
        if (status == OK)
            *ret_picture = picture;
        if (status != ERR_CORRUPT || reader->shard_reader == NULL)
            return status; /* a damaged shard ends it, a damaged record does not */
        log_debug("skipped shard=%s record=%u reason=\"%s\"", picture.shard, picture.record,
                  fail_message());
        reader->skipped++;
    }
    return fail(ERR_END, "no more pictures");
}
