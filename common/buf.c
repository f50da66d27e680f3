/* buf.c - a growable run of bytes with a ceiling. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/buf.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"

void buf_init(struct buf *buf, size_t limit)
{
    *buf = (struct buf){.limit = limit};
}

void buf_done(struct buf *buf)
{
    mem_free(buf->bytes);
    *buf = (struct buf){.limit = buf->limit};
}

void buf_clear(struct buf *buf)
{
    buf->length = 0;
    if (buf->bytes != NULL)
        buf->bytes[0] = 0;
}

enum status buf_reserve(struct buf *buf, size_t more)
{
    if (more > buf->limit || buf->length > buf->limit - more)
        return fail(ERR_INPUT, "%zu bytes are more than the limit of %zu", buf->length + more,
                    buf->limit);
    size_t needed = buf->length + more + 1;
    if (needed <= buf->capacity)
        return OK;
    size_t capacity = buf->capacity < 128 ? 256 : buf->capacity * 2;
    if (capacity < needed)
        capacity = needed;
    buf->bytes = mem_resize(buf->bytes, capacity);
    buf->capacity = capacity;
    return OK;
}

enum status buf_append(struct buf *buf, const void *bytes, size_t length)
{
    TRY(buf_reserve(buf, length));
    if (length > 0)
        memcpy(buf->bytes + buf->length, bytes, length);
    buf->length += length;
    buf->bytes[buf->length] = 0;
    return OK;
}

enum status buf_format(struct buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    TRY(buf_reserve(buf, (size_t)length));
    va_start(args, format);
    vsnprintf((char *)buf->bytes + buf->length, (size_t)length + 1, format, args);
    va_end(args);
    buf->length += (size_t)length;
    return OK;
}
