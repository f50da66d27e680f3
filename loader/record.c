/* record.c - Caffe's Datum on the wire: protobuf fields read in place, with bounds. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/record.h"

#include "proto/datum.pb-c.h"

/* Field numbers of proto/datum.proto and wire types of the protobuf encoding. */
enum { FIELD_CHANNELS = 1, FIELD_HEIGHT, FIELD_WIDTH, FIELD_DATA, FIELD_LABEL, FIELD_ENCODED = 7 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct wire {
    const uint8_t *at;
    const uint8_t *end;
};

static int read_varint(struct wire *wire, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (int shift = 0; shift < 64 && wire->at < wire->end; shift += 7) {
        uint8_t byte = *wire->at++;
        value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            *ret_value = value;
            return 1;
        }
    }
    return 0;
}

static int skip_bytes(struct wire *wire, uint64_t count)
{
    if (count > (uint64_t)(wire->end - wire->at))
        return 0;
    wire->at += count;
    return 1;
}

/* One field: its number, and its value, or its length when it is bytes (then wire->at is past
 * them). */
static int read_field(struct wire *wire, uint64_t *ret_tag, uint64_t *ret_value)
{
    *ret_value = 0;
    if (!read_varint(wire, ret_tag))
        return 0;
    switch (*ret_tag & 7) {
    case WIRE_VARINT:
        return read_varint(wire, ret_value);
    case WIRE_BYTES:
        return read_varint(wire, ret_value) && skip_bytes(wire, *ret_value);
    case WIRE_64:
        return skip_bytes(wire, 8);
    case WIRE_32:
        return skip_bytes(wire, 4);
    default:
        return 0;
    }
}

static uint64_t tag(unsigned field, unsigned type)
{
    return (uint64_t)field << 3 | type;
}

/* What a Datum says, believed in nothing yet. */
static enum status read_datum(const void *value, size_t length, struct record *ret_record,
                              uint64_t *ret_channels, int *ret_is_encoded)
{
    struct wire wire = {.at = value, .end = (const uint8_t *)value + length};
    struct record record = {.label = LABEL_NONE};
    *ret_channels = 0;
    *ret_is_encoded = 0;
    while (wire.at < wire.end) {
        uint64_t field, number;
        if (!read_field(&wire, &field, &number))
            return fail(ERR_CORRUPT, "the record is not a Caffe Datum: it breaks off at byte %zu",
                        (size_t)(wire.at - (const uint8_t *)value));
        if (field == tag(FIELD_CHANNELS, WIRE_VARINT)) {
            *ret_channels = number;
        } else if (field == tag(FIELD_HEIGHT, WIRE_VARINT)) {
            record.height = (int32_t)number;
        } else if (field == tag(FIELD_WIDTH, WIRE_VARINT)) {
            record.width = (int32_t)number;
        } else if (field == tag(FIELD_DATA, WIRE_BYTES)) {
            record.bytes = wire.at - number;
            record.length = (size_t)number;
        } else if (field == tag(FIELD_LABEL, WIRE_VARINT)) {
            record.label = (int32_t)number;
        } else if (field == tag(FIELD_ENCODED, WIRE_VARINT)) {
            *ret_is_encoded = number != 0;
        }
    }
    if (record.bytes == NULL)
        return fail(ERR_CORRUPT, "the record is not a Caffe Datum: it has no data");
    *ret_record = record;
    return OK;
}

enum status record_decode(const void *value, size_t length, struct record *ret_record)
{
    uint64_t channels;
    int is_encoded;
    struct record record;
    TRY(read_datum(value, length, &record, &channels, &is_encoded));
    if (!is_encoded)
        return fail(ERR_CORRUPT, "the record holds raw pixels (a Datum with encoded=false): 'seer "
                                 "ingest' takes such an LMDB into a store");
    *ret_record = record;
    return OK;
}

enum status record_decode_any(const void *value, size_t length, struct record *ret_record,
                              int *ret_channels)
{
    uint64_t channels;
    int is_encoded;
    struct record record;
    TRY(read_datum(value, length, &record, &channels, &is_encoded));
    if (is_encoded)
        channels = 0;
    else if ((channels != 1 && channels != RECORD_CHANNELS) || record.width < 1 ||
             record.height < 1 ||
             (uint64_t)record.width * (uint64_t)record.height != record.length / channels ||
             record.length % channels != 0)
        return fail(ERR_CORRUPT,
                    "a Datum of raw pixels with %zu bytes, %llu channels, %d rows and %d columns: "
                    "1 or 3 channels are read, of as many bytes",
                    record.length, (unsigned long long)channels, record.height, record.width);
    *ret_record = record;
    *ret_channels = (int)channels;
    return OK;
}

enum status record_encode(const struct record *record, struct buf *out)
{
    if (record->length > RECORD_BYTES_MAX)
        return fail(ERR_INPUT, "an image of %zu bytes is over the limit of %d", record->length,
                    RECORD_BYTES_MAX);
    Datum datum = DATUM__INIT;
    datum.has_channels = record->width > 0;
    datum.channels = 3;
    datum.has_height = record->width > 0;
    datum.height = record->height;
    datum.has_width = record->width > 0;
    datum.width = record->width;
    datum.has_data = 1;
    datum.data.data = (uint8_t *)record->bytes; /* protobuf-c only reads it */
    datum.data.len = record->length;
    datum.has_label = record->label != LABEL_NONE;
    datum.label = record->label;
    datum.has_encoded = 1;
    datum.encoded = 1;
    size_t length = datum__get_packed_size(&datum);
    TRY(buf_reserve(out, length));
    out->length += datum__pack(&datum, out->bytes + out->length);
    return OK;
}
