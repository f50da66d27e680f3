/* source_idx.c - IDX files (LeCun's format of MNIST), plain or compressed, as PNG.
 *
 * Images: 00 00 08 03, then count, rows, columns (big-endian, 32 bits), then bytes. Labels:
 * 00 00 08 01, count, bytes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/source.h"

#include <stdio.h>
#include <string.h>

#include <archive.h>
#include <archive_entry.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/mem.h"
#include "loader/png.h"
#include "loader/record.h"

enum {
    MAGIC_IMAGES = 0x00000803,
    MAGIC_LABELS = 0x00000801,
    SIDE_MAX = 4096,
    PNG_SLACK_BYTES = 64 << 10, /* what PNG may add to the pixels */
    READ_BLOCK_BYTES = 64 << 10,
};

struct idx {
    struct source base;
    char *path;
    struct archive *images;
    struct archive *labels; /* NULL if there are none */
    uint32_t count;
    uint32_t index;
    uint32_t width;
    uint32_t height;
    uint8_t *pixels; /* [height][width] */
    int is_broken;
};

/* The file through libarchive's decompressors, or NULL. */
static struct archive *stream_open(const char *path)
{
    struct archive_entry *entry;
    struct archive *stream = archive_read_new();
    archive_read_support_filter_all(stream);
    archive_read_support_format_raw(stream);
    if (archive_read_open_filename(stream, path, READ_BLOCK_BYTES) == ARCHIVE_OK &&
        archive_read_next_header(stream, &entry) == ARCHIVE_OK)
        return stream;
    archive_read_free(stream);
    return NULL;
}

static int stream_read(struct archive *stream, void *into, size_t length)
{
    for (size_t done = 0; done < length;) {
        la_ssize_t count = archive_read_data(stream, (uint8_t *)into + done, length - done);
        if (count <= 0)
            return 0;
        done += (size_t)count;
    }
    return 1;
}

static int read_number(struct archive *stream, uint32_t *ret_number)
{
    uint8_t b[4];
    if (!stream_read(stream, b, sizeof(b)))
        return 0;
    *ret_number = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    return 1;
}

static enum status idx_next(struct source *source, struct source_item *ret_item)
{
    struct idx *idx = (struct idx *)source;
    if (idx->index == idx->count || idx->is_broken)
        return ERR_END;
    size_t pixels = (size_t)idx->width * idx->height;
    struct source_item item = {.name = mem_format("%s#%u", idx->path, idx->index),
                               .label = LABEL_NONE};
    uint8_t label;
    struct buf png;
    buf_init(&png, pixels + PNG_SLACK_BYTES);
    if (!stream_read(idx->images, idx->pixels, pixels)) {
        source_item_refuse(&item, IMAGE_REASON_TRUNCATED, "the file ends before image %u of %u",
                           idx->index, idx->count);
        idx->is_broken = 1;
    } else if (png_encode(idx->pixels, idx->width, idx->height, 1, &png) != OK) {
        source_item_refuse(&item, IMAGE_REASON_CORRUPT, "%s", fail_message());
    } else if (idx->labels != NULL && !stream_read(idx->labels, &label, 1)) {
        source_item_refuse(&item, IMAGE_REASON_TRUNCATED, "the labels end before image %u of %u",
                           idx->index, idx->count);
        idx->is_broken = 1;
    } else {
        item.bytes = png.bytes; /* given to the item */
        item.length = png.length;
        item.label = idx->labels != NULL ? label : LABEL_NONE;
        png.bytes = NULL;
    }
    buf_done(&png);
    idx->index++;
    *ret_item = item;
    return OK;
}

static enum status idx_folders(struct source *source, struct labels *labels)
{
    (void)source;
    (void)labels;
    return OK;
}

static double idx_progress(struct source *source)
{
    struct idx *idx = (struct idx *)source;
    return idx->count == 0 ? 1 : (double)idx->index / idx->count;
}

static void idx_close(struct source *source)
{
    struct idx *idx = (struct idx *)source;
    if (idx->images != NULL)
        archive_read_free(idx->images);
    if (idx->labels != NULL)
        archive_read_free(idx->labels);
    mem_free(idx->pixels);
    mem_free(idx->path);
    mem_free(idx);
}

static const struct source_ops idx_ops = {idx_next, idx_folders, idx_progress, idx_close};

/* train-images-idx3-ubyte.gz -> train-labels-idx1-ubyte.gz; NULL if there is no such file. */
static char *labels_beside(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *images = strstr(slash == NULL ? path : slash, "images-idx3");
    if (images == NULL)
        return NULL;
    char *beside =
        mem_format("%.*slabels-idx1%s", (int)(images - path), path, images + strlen("images-idx3"));
    if (fs_exists(beside))
        return beside;
    mem_free(beside);
    return NULL;
}

static enum status open_labels(struct idx *idx, const struct source_options *options)
{
    char *path =
        options->idx_labels != NULL ? mem_string(options->idx_labels) : labels_beside(idx->path);
    enum status status = OK;
    uint32_t magic = 0, count = 0;
    if (path == NULL || options->rule != LABEL_RULE_AUTO)
        goto out;
    idx->labels = stream_open(path);
    if (idx->labels == NULL || !read_number(idx->labels, &magic) || magic != MAGIC_LABELS ||
        !read_number(idx->labels, &count))
        status = fail(ERR_INPUT, "'%s' is not an IDX file of labels (idx1-ubyte)", path);
    else if (count != idx->count)
        status = fail(ERR_INPUT,
                      "'%s' has %u labels, '%s' has %u images: they do not belong "
                      "together",
                      path, count, idx->path, idx->count);
out:
    mem_free(path);
    return status;
}

/* What follows the magic number of images. */
static enum status open_images(struct idx *idx, const struct source_options *options)
{
    if (!read_number(idx->images, &idx->count) || !read_number(idx->images, &idx->height) ||
        !read_number(idx->images, &idx->width) || idx->width < 1 || idx->width > SIDE_MAX ||
        idx->height < 1 || idx->height > SIDE_MAX)
        return fail(ERR_INPUT, "IDX file '%s' has an impossible header", idx->path);
    TRY(open_labels(idx, options));
    idx->pixels = mem_alloc((size_t)idx->width * idx->height);
    return OK;
}

enum status source_idx_open(const char *path, const struct source_options *options,
                            struct source **ret_source)
{
    enum status status = OK;
    uint32_t magic = 0;
    struct idx *idx = mem_zero(sizeof(*idx));
    idx->base.ops = &idx_ops;
    idx->path = mem_string(path);
    idx->images = stream_open(path);
    int is_readable = idx->images != NULL && read_number(idx->images, &magic);
    if (is_readable && magic == MAGIC_IMAGES)
        status = open_images(idx, options);
    else if (!is_readable || magic != MAGIC_LABELS) /* which are read along with their images */
        status = fail(ERR_STALE, "'%s' is no IDX file", path);
    if (status == OK) {
        *ret_source = &idx->base;
        idx = NULL; /* given to the caller */
    }
    if (idx != NULL)
        idx_close(&idx->base);
    return status;
}
