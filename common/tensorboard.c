/* tensorboard.c - curves in a file that TensorBoard follows while it grows. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/tensorboard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"

enum { RECORD_BYTES_MAX = 1 << 16 };

/* Field numbers of Event, Summary and Summary.Value; wire types of protobuf. */
enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE = 2 };
enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_32BIT = 5 };

struct tensorboard {
    int file;
    char *path;
    struct buf record;
};

uint32_t tensorboard_crc32c(const void *bytes, size_t length)
{
    /* A bit at a time: a step writes some hundred bytes. 0x82f63b78 is the reflected polynomial. */
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        crc ^= ((const uint8_t *)bytes)[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (0x82f63b78u & -(crc & 1u));
    }
    return ~crc;
}

static enum status append_little(struct buf *out, uint64_t value, int bytes)
{
    uint8_t little[8];
    for (int i = 0; i < bytes; i++)
        little[i] = (uint8_t)(value >> (8 * i));
    return buf_append(out, little, (size_t)bytes);
}

static enum status append_varint(struct buf *out, uint64_t value)
{
    do {
        uint8_t byte = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        TRY(buf_append(out, &byte, 1));
        value >>= 7;
    } while (value > 0);
    return OK;
}

static enum status append_tag(struct buf *out, int field, int wire)
{
    return append_varint(out, (uint64_t)(field << 3 | wire));
}

static enum status append_bytes(struct buf *out, int field, const void *bytes, size_t length)
{
    TRY(append_tag(out, field, WIRE_BYTES));
    TRY(append_varint(out, length));
    return buf_append(out, bytes, length);
}

static enum status append_time(struct buf *out, int64_t wall_ms)
{
    double seconds = (double)wall_ms / 1000;
    uint64_t bits;
    memcpy(&bits, &seconds, sizeof(bits));
    TRY(append_tag(out, EVENT_TIME, WIRE_64BIT));
    return append_little(out, bits, 8);
}

static enum status append_scalar(struct buf *out, const struct tensorboard_scalar *scalar)
{
    uint32_t bits;
    struct buf value;
    memcpy(&bits, &scalar->value, sizeof(bits));
    buf_init(&value, RECORD_BYTES_MAX);
    enum status status = append_bytes(&value, VALUE_TAG, scalar->tag, strlen(scalar->tag));
    if (status == OK)
        status = append_tag(&value, VALUE_SIMPLE, WIRE_32BIT);
    if (status == OK)
        status = append_little(&value, bits, 4);
    if (status == OK)
        status = append_bytes(out, SUMMARY_VALUE, value.bytes, value.length);
    buf_done(&value);
    return status;
}

/* Checksums are rotated and shifted, so that a checksum of checksums is none (record_writer.h). */
static uint32_t masked_crc(const void *bytes, size_t length)
{
    uint32_t crc = tensorboard_crc32c(bytes, length);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

static enum status append_record(struct buf *out, const struct buf *event)
{
    size_t start = out->length;
    TRY(append_little(out, event->length, 8));
    TRY(append_little(out, masked_crc(out->bytes + start, 8), 4));
    TRY(buf_append(out, event->bytes, event->length));
    return append_little(out, masked_crc(event->bytes, event->length), 4);
}

enum status tensorboard_encode_version(int has_time, int64_t wall_ms, struct buf *out)
{
    static const char version[] = "brain.Event:2";
    struct buf event;
    buf_init(&event, RECORD_BYTES_MAX);
    enum status status = has_time ? append_time(&event, wall_ms) : OK;
    if (status == OK)
        status = append_bytes(&event, EVENT_VERSION, version, strlen(version));
    if (status == OK)
        status = append_record(out, &event);
    buf_done(&event);
    return status;
}

enum status tensorboard_encode_scalars(int64_t wall_ms, int64_t step,
                                       const struct tensorboard_scalar *scalars, int count,
                                       struct buf *out)
{
    enum status status = OK;
    struct buf event, summary;
    buf_init(&event, RECORD_BYTES_MAX);
    buf_init(&summary, RECORD_BYTES_MAX);
    for (int i = 0; i < count && status == OK; i++)
        status = append_scalar(&summary, &scalars[i]);
    if (status == OK)
        status = append_time(&event, wall_ms);
    if (status == OK)
        status = append_tag(&event, EVENT_STEP, WIRE_VARINT);
    if (status == OK)
        status = append_varint(&event, (uint64_t)step);
    if (status == OK)
        status = append_bytes(&event, EVENT_SUMMARY, summary.bytes, summary.length);
    if (status == OK)
        status = append_record(out, &event);
    buf_done(&summary);
    buf_done(&event);
    return status;
}

static enum status write_record(struct tensorboard *tensorboard)
{
    const struct buf *record = &tensorboard->record;
    ssize_t written = write(tensorboard->file, record->bytes, record->length);
    if (written < 0)
        return fail(ERR_IO, "cannot write '%s': %s", tensorboard->path, strerror(errno));
    if ((size_t)written != record->length)
        return fail(ERR_IO, "cannot write '%s': the disk is full", tensorboard->path);
    return OK;
}

enum status tensorboard_open(const char *directory, int64_t wall_ms,
                             struct tensorboard **ret_tensorboard)
{
    static _Atomic int opened;
    char host[64] = "localhost";
    gethostname(host, sizeof(host) - 1);
    struct tensorboard *tensorboard = mem_zero(sizeof(*tensorboard));
    buf_init(&tensorboard->record, RECORD_BYTES_MAX);
    tensorboard->path =
        mem_format("%s/events.out.tfevents.%010" PRId64 ".%s.%d.%d", directory, wall_ms / 1000,
                   host, (int)getpid(), atomic_fetch_add(&opened, 1));
    tensorboard->file = open(tensorboard->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    enum status status = OK;
    if (tensorboard->file < 0)
        status = fail(ERR_IO, "cannot create '%s': %s", tensorboard->path, strerror(errno));
    if (status == OK)
        status = tensorboard_encode_version(1, wall_ms, &tensorboard->record);
    if (status == OK)
        status = write_record(tensorboard);
    if (status != OK) {
        tensorboard_close(tensorboard);
        return status;
    }
    *ret_tensorboard = tensorboard;
    return OK;
}

void tensorboard_close(struct tensorboard *tensorboard)
{
    if (tensorboard == NULL)
        return;
    if (tensorboard->file >= 0)
        close(tensorboard->file);
    buf_done(&tensorboard->record);
    mem_free(tensorboard->path);
    mem_free(tensorboard);
}

enum status tensorboard_write(struct tensorboard *tensorboard, int64_t wall_ms, int64_t step,
                              const struct tensorboard_scalar *scalars, int count)
{
    buf_clear(&tensorboard->record);
    TRY(tensorboard_encode_scalars(wall_ms, step, scalars, count, &tensorboard->record));
    return write_record(tensorboard);
}
