/* buf.h - a growable run of bytes with a ceiling.
 *
 * The ceiling is given at init and is a promise about input: appending past it fails and leaves the
 * buffer as it was. A buf always holds a 0 byte after its contents, so .bytes is also a C string.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

struct buf {
    uint8_t *bytes;  /* owned; NULL while empty and never used */
    size_t length;   /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* length never exceeds it */
};

void buf_init(struct buf *buf, size_t limit);
void buf_done(struct buf *buf);
/* Forgets the contents, keeps the memory. */
void buf_clear(struct buf *buf);
/* Makes room for `more` bytes past length. ERR_INPUT past the limit. */
enum status buf_reserve(struct buf *buf, size_t more);
/* Both grow the buffer. ERR_INPUT past the limit. */
enum status buf_append(struct buf *buf, const void *bytes, size_t length);
enum status buf_format(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
