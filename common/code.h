/* code.h - values as bytes and back, through one description for both ways.
 *
 * A walk over a record calls code_* for each of its members in turn: a writing codec appends them
 * to `out`, a reading one fills them from `in`, as if an enemy had written it. After a failure a
 * walk does nothing more and `status` says why (ERR_CORRUPT reading, ERR_INPUT writing), so that
 * only its end needs to look. Little-endian, fixed widths, a count in front of texts and lists. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_CODE_H
#define COMMON_CODE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum { CODE_TEXT_MAX = 65536, CODE_LIST_MAX = 1 << 20 };

struct codec {
    int is_reading;
    struct buf *out;   /* writing */
    const uint8_t *in; /* reading: what is not read yet */
    size_t left;       /* bytes of it */
    enum status status;
};

void code_bytes(struct codec *codec, void *bytes, size_t length);
void code_u32(struct codec *codec, uint32_t *value);
void code_u64(struct codec *codec, uint64_t *value);
void code_i64(struct codec *codec, int64_t *value);
void code_double(struct codec *codec, double *value);
void code_bool(struct codec *codec, int *value);
/* A count whose elements take at least element_bytes each: a lie is found before memory is taken,
 * and is 0. */
void code_count(struct codec *codec, uint32_t *count, size_t element_bytes);
/* Written, NULL is "". Read, it is always a new string, which the caller frees. */
void code_text(struct codec *codec, char **text);
/* Read, the list is always new memory, which the caller frees. */
void code_numbers(struct codec *codec, uint32_t *count, uint32_t **numbers);

#endif
