/* record.h - one encoded image of a shard, and the Caffe Datum that carries it.
 *
 * Values are packed by protobuf-c; they are read by a bounded parser of our own that borrows the
 * image bytes, because protobuf-c would copy each image once more. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_RECORD_H
#define LOADER_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum {
    RECORD_BYTES_MAX = 64 << 20, /* one encoded image; larger ones are refused at ingest */
    LABEL_NONE = -1,
    RECORD_CHANNELS = 3, /* of raw pixels: grey, or colour */
};

struct record {
    const uint8_t *bytes; /* the image file; borrowed */
    size_t length;
    int32_t label;  /* LABEL_NONE if there is none */
    int32_t width;  /* pixels as stored, before EXIF orientation; 0 where the value does not say */
    int32_t height; /* likewise */
};

/* Appends the record to out as an encoded Datum. ERR_INPUT past RECORD_BYTES_MAX or out's limit. */
enum status record_encode(const struct record *record, struct buf *out);
/* Reads a Datum; ret_record->bytes points into value. ERR_CORRUPT: not a Datum, or one that holds
 * raw pixels instead of an encoded image. */
enum status record_decode(const void *value, size_t length, struct record *ret_record);
/* The same, and raw pixels too: *ret_channels is 0 for an encoded image, else 1 to RECORD_CHANNELS,
 * and bytes are [channels][height][width], blue first of three, as Caffe's convert_imageset writes
 * them. ERR_CORRUPT also if there are not as many bytes as that. */
enum status record_decode_any(const void *value, size_t length, struct record *ret_record,
                              int *ret_channels);

#endif
