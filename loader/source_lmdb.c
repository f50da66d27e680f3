/* source_lmdb.c - Caffe's and LSUN's LMDB folders, and shards of our own, as sources. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/source.h"

#include <string.h>
#include <sys/stat.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/mem.h"
#include "loader/png.h"
#include "loader/shard.h"
#include "loader/source_file.h"

struct lmdb {
    struct source base;
    const struct source_options *options; /* borrowed */
    struct shard *shard;
    struct shard_reader *reader;
    uint32_t next;
};

/* Planes of blue, green and red, or of grey, to a PNG that the item owns. */
static enum status encode_raw(const struct record *record, int channels, struct source_item *item)
{
    size_t plane = (size_t)record->width * (size_t)record->height;
    uint8_t *pixels = mem_alloc(record->length);
    struct buf png;
    buf_init(&png, RECORD_BYTES_MAX);
    for (size_t i = 0; i < plane; i++)
        for (int channel = 0; channel < channels; channel++)
            pixels[i * (size_t)channels + (size_t)channel] =
                record->bytes[(size_t)(channels - 1 - channel) * plane + i];
    enum status status =
        png_encode(pixels, (uint32_t)record->width, (uint32_t)record->height, channels, &png);
    if (status == OK) {
        item->bytes = png.bytes; /* given to the item */
        item->length = png.length;
        png.bytes = NULL;
    }
    buf_done(&png);
    mem_free(pixels);
    return status;
}

static enum status copy_image(const struct record *record, struct source_item *item)
{
    item->bytes = mem_alloc(record->length + 1);
    memcpy(item->bytes, record->bytes, record->length);
    item->length = record->length;
    return OK;
}

static enum status lmdb_next(struct source *source, struct source_item *ret_item)
{
    struct lmdb *lmdb = (struct lmdb *)source;
    struct record record;
    int channels;
    if (lmdb->next == shard_record_count(lmdb->shard))
        return ERR_END;
    uint32_t index = lmdb->next++;
    *ret_item = (struct source_item){.name = mem_format("%s:%u", shard_path(lmdb->shard), index),
                                     .label = LABEL_NONE};
    if (shard_read_any(lmdb->reader, index, &record, &channels) != OK) {
        source_item_refuse(ret_item, IMAGE_REASON_CORRUPT, "%s", fail_message());
        return OK;
    }
    if (record.length > RECORD_BYTES_MAX) {
        source_item_refuse(ret_item, IMAGE_REASON_TOO_LARGE, "%zu bytes are over the limit of %d",
                           record.length, RECORD_BYTES_MAX);
        return OK;
    }
    enum status status =
        channels == 0 ? copy_image(&record, ret_item) : encode_raw(&record, channels, ret_item);
    if (status != OK) {
        source_item_refuse(ret_item, IMAGE_REASON_CORRUPT, "%s", fail_message());
        return OK;
    }
    if (lmdb->options->rule == LABEL_RULE_AUTO)
        ret_item->label = record.label;
    return OK;
}

static enum status lmdb_folders(struct source *source, struct labels *labels)
{
    (void)source;
    (void)labels;
    return OK;
}

static double lmdb_progress(struct source *source)
{
    struct lmdb *lmdb = (struct lmdb *)source;
    return (double)lmdb->next / shard_record_count(lmdb->shard);
}

static void lmdb_close(struct source *source)
{
    struct lmdb *lmdb = (struct lmdb *)source;
    shard_reader_close(lmdb->reader);
    shard_close(lmdb->shard);
    mem_free(lmdb);
}

static const struct source_ops lmdb_ops = {lmdb_next, lmdb_folders, lmdb_progress, lmdb_close};

static int is_lmdb(const char *path)
{
    struct stat info;
    if (stat(path, &info) != 0)
        return 0;
    if (!S_ISDIR(info.st_mode))
        return source_file_ends(path, ".mdb");
    char *data = mem_format("%s/data.mdb", path);
    int has_data = fs_exists(data);
    mem_free(data);
    return has_data;
}

enum status source_lmdb_open(const char *path, const struct source_options *options,
                             struct source **ret_source)
{
    if (!is_lmdb(path))
        return fail(ERR_STALE, "'%s' is no LMDB", path);
    TRY(fs_require_local(path));
    struct lmdb *lmdb = mem_zero(sizeof(*lmdb));
    lmdb->base.ops = &lmdb_ops;
    lmdb->options = options;
    enum status status = shard_open_any(path, &lmdb->shard);
    if (status == OK)
        status = shard_reader_open(lmdb->shard, &lmdb->reader);
    if (status != OK) {
        lmdb_close(&lmdb->base);
        return status;
    }
    *ret_source = &lmdb->base;
    return OK;
}
