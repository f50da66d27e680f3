/* code.c - values as bytes and back, through one description for both ways. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/code.h"

#include <endian.h>
#include <string.h>

#include "common/mem.h"

void code_bytes(struct codec *codec, void *bytes, size_t length)
{
    if (codec->status != OK)
        return;
    if (!codec->is_reading) {
        codec->status = buf_append(codec->out, bytes, length);
    } else if (length > codec->left) {
        codec->status = fail(ERR_CORRUPT, "ends %zu bytes early", length - codec->left);
    } else {
        memcpy(bytes, codec->in, length);
        codec->in += length;
        codec->left -= length;
    }
}

void code_u32(struct codec *codec, uint32_t *value)
{
    uint32_t wire = htole32(*value);
    code_bytes(codec, &wire, sizeof(wire));
    *value = le32toh(wire);
}

void code_u64(struct codec *codec, uint64_t *value)
{
    uint64_t wire = htole64(*value);
    code_bytes(codec, &wire, sizeof(wire));
    *value = le64toh(wire);
}

void code_i64(struct codec *codec, int64_t *value)
{
    uint64_t bits = (uint64_t)*value;
    code_u64(codec, &bits);
    *value = (int64_t)bits;
}

void code_double(struct codec *codec, double *value)
{
    uint64_t bits = 0;
    memcpy(&bits, value, sizeof(bits));
    code_u64(codec, &bits);
    memcpy(value, &bits, sizeof(bits));
}

void code_bool(struct codec *codec, int *value)
{
    uint8_t byte = *value != 0;
    code_bytes(codec, &byte, 1);
    *value = byte != 0;
}

void code_count(struct codec *codec, uint32_t *count, size_t element_bytes)
{
    code_u32(codec, count);
    if (codec->is_reading && codec->status == OK &&
        (*count > CODE_LIST_MAX || *count > codec->left / element_bytes))
        codec->status = fail(ERR_CORRUPT, "claims %u elements", *count);
    if (codec->is_reading && codec->status != OK)
        *count = 0;
}

void code_text(struct codec *codec, char **text)
{
    uint32_t length = *text == NULL ? 0 : (uint32_t)strlen(*text);
    code_count(codec, &length, 1);
    if (length > CODE_TEXT_MAX && codec->status == OK)
        codec->status =
            fail(codec->is_reading ? ERR_CORRUPT : ERR_INPUT, "a text of %u bytes", length);
    if (codec->is_reading)
        *text = mem_zero(codec->status == OK ? length + 1 : 1);
    if (codec->status == OK)
        code_bytes(codec, *text, length);
}

void code_numbers(struct codec *codec, uint32_t *count, uint32_t **numbers)
{
    code_count(codec, count, sizeof(uint32_t));
    if (codec->is_reading)
        *numbers = mem_array(*count, sizeof(uint32_t));
    for (uint32_t i = 0; i < *count; i++)
        code_u32(codec, &(*numbers)[i]);
}
