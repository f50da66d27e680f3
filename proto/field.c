/* field.c - the walk over a table of fields, in four directions. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/field.h"

#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"

/* protobuf-c 1.4.1 turns a repeated empty message of 2 bytes into some 85 (struct, pointer, scanned
 * member). What we send stays below 20 times its length; more is an attack or a mistake. */
enum { BUDGET_FACTOR = 24, BUDGET_FLOOR = 64 << 10, BUDGET_CEILING = 48 << 20 };

/* An allocator that gives up once a message costs too much; protobuf-c then frees all and returns
 * NULL. Each block remembers its size in front. */
struct budget {
    size_t left;
};

enum { BLOCK_HEAD = 16 }; /* keeps malloc's alignment */

static void *budget_alloc(void *data, size_t size)
{
    struct budget *budget = data;
    if (size > budget->left)
        return NULL;
    char *block = malloc(size + BLOCK_HEAD);
    if (block == NULL)
        return NULL;
    budget->left -= size;
    memcpy(block, &size, sizeof(size));
    return block + BLOCK_HEAD;
}

static void budget_free(void *data, void *pointer)
{
    struct budget *budget = data;
    if (pointer == NULL)
        return;
    char *block = (char *)pointer - BLOCK_HEAD;
    size_t size = 0;
    memcpy(&size, block, sizeof(size));
    budget->left += size;
    free(block);
}

static size_t scalar_bytes(enum field_kind kind)
{
    switch (kind) {
    case FIELD_U32:
    case FIELD_BOOL:
        return 4;
    case FIELD_U64:
    case FIELD_I64:
    case FIELD_DOUBLE:
        return 8;
    default:
        return 0;
    }
}

#define AT(type, base, offset)       (*(type *)((char *)(base) + (offset)))
#define CONST_AT(type, base, offset) (*(type const *)((const char *)(base) + (offset)))

/* Pointers of any type are read and written as bytes, so that no access has a wrong type. */
static void *pointer_at(const void *base, size_t offset)
{
    void *pointer = NULL;
    memcpy(&pointer, (const char *)base + offset, sizeof(pointer));
    return pointer;
}

static void pointer_put(void *base, size_t offset, const void *pointer)
{
    memcpy((char *)base + offset, &pointer, sizeof(pointer));
}

/* ---- our struct to protobuf-c's; text and bytes are borrowed, arrays are not ---- */

static void wire_free(const struct form *form, ProtobufCMessage *wire);
static enum status wire_fill(const struct form *form, const void *own, ProtobufCMessage **ret_wire);

static enum status wire_numbers(const struct field *field, const void *own, void *wire)
{
    uint32_t count = CONST_AT(uint32_t, own, field->own_count);
    if (count > field->limit)
        return fail(ERR_INPUT, "%s: %u numbers, at most %u", field->name, count, field->limit);
    AT(size_t, wire, field->wire_count) = count;
    pointer_put(wire, field->wire, pointer_at(own, field->own));
    return OK;
}

static enum status wire_messages(const struct field *field, const void *own, void *wire)
{
    uint32_t count = CONST_AT(uint32_t, own, field->own_count);
    const char *elements = pointer_at(own, field->own);
    if (count > field->limit)
        return fail(ERR_INPUT, "%s: %u elements, at most %u", field->name, count, field->limit);
    ProtobufCMessage **list = mem_array(count, sizeof(*list));
    pointer_put(wire, field->wire, list);
    AT(size_t, wire, field->wire_count) = count;
    for (uint32_t i = 0; i < count; i++)
        TRY(wire_fill(field->form, elements + i * field->form->bytes, &list[i]));
    return OK;
}

static enum status wire_text(const struct field *field, const void *own, void *wire)
{
    char *text = pointer_at(own, field->own);
    if (text != NULL && strlen(text) > field->limit)
        return fail(ERR_INPUT, "%s: %zu bytes of text, at most %u", field->name, strlen(text),
                    field->limit);
    pointer_put(wire, field->wire, text);
    return OK;
}

static enum status wire_bytes(const struct field *field, const void *own, void *wire)
{
    uint32_t length = CONST_AT(uint32_t, own, field->own_count);
    if (length > field->limit)
        return fail(ERR_INPUT, "%s: %u bytes, at most %u", field->name, length, field->limit);
    AT(protobuf_c_boolean, wire, field->wire_count) = 1;
    AT(ProtobufCBinaryData, wire, field->wire) =
        (ProtobufCBinaryData){length, pointer_at(own, field->own)};
    return OK;
}

static enum status wire_maybe(const struct field *field, const void *own, void *wire)
{
    if (!CONST_AT(int, own, field->own_count))
        return OK;
    ProtobufCMessage *nested = NULL;
    enum status status = wire_fill(field->form, (const char *)own + field->own, &nested);
    pointer_put(wire, field->wire, nested);
    return status;
}

static enum status wire_field(const struct field *field, const void *own, void *wire)
{
    switch (field->kind) {
    case FIELD_TEXT:
        return wire_text(field, own, wire);
    case FIELD_BYTES:
        return wire_bytes(field, own, wire);
    case FIELD_NUMBERS:
    case FIELD_MORE:
        return wire_numbers(field, own, wire);
    case FIELD_PHASES:
        AT(size_t, wire, field->wire_count) = field->limit;
        pointer_put(wire, field->wire, (const char *)own + field->own);
        return OK;
    case FIELD_MESSAGES:
        return wire_messages(field, own, wire);
    case FIELD_MAYBE:
        return wire_maybe(field, own, wire);
    default:
        AT(protobuf_c_boolean, wire, field->wire_count) = 1;
        memcpy((char *)wire + field->wire, (const char *)own + field->own,
               scalar_bytes(field->kind));
        return OK;
    }
}

/* *ret_wire is set even on failure, for wire_free. */
static enum status wire_fill(const struct form *form, const void *own, ProtobufCMessage **ret_wire)
{
    ProtobufCMessage *wire = mem_zero(form->descriptor->sizeof_message);
    *ret_wire = wire;
    protobuf_c_message_init(form->descriptor, wire);
    for (const struct field *field = form->fields; field->kind != FIELD_END; field++)
        TRY(wire_field(field, own, wire));
    return OK;
}

static void wire_free(const struct form *form, ProtobufCMessage *wire)
{
    if (wire == NULL)
        return;
    for (const struct field *field = form->fields; field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_MAYBE)
            wire_free(field->form, pointer_at(wire, field->wire));
        if (field->kind != FIELD_MESSAGES)
            continue;
        ProtobufCMessage **list = pointer_at(wire, field->wire);
        for (size_t i = 0; i < AT(size_t, wire, field->wire_count); i++)
            wire_free(field->form, list[i]);
        mem_free(list);
    }
    mem_free(wire);
}

/* ---- protobuf-c's struct to ours ---- */

static enum status own_fill(const struct form *form, const ProtobufCMessage *wire, void *own);

static enum status own_numbers(const struct field *field, const void *wire, void *own)
{
    size_t count = CONST_AT(size_t, wire, field->wire_count);
    if (count > field->limit)
        return fail(ERR_PROTOCOL, "%s: %zu numbers, at most %u", field->name, count, field->limit);
    if (field->kind == FIELD_MORE && count != CONST_AT(uint32_t, own, field->own_count))
        return fail(ERR_PROTOCOL, "%s: %zu numbers beside %u", field->name, count,
                    CONST_AT(uint32_t, own, field->own_count));
    uint32_t *numbers = NULL;
    if (count > 0) {
        numbers = mem_array(count, sizeof(*numbers));
        memcpy(numbers, pointer_at(wire, field->wire), count * sizeof(*numbers));
    }
    pointer_put(own, field->own, numbers);
    AT(uint32_t, own, field->own_count) = (uint32_t)count;
    return OK;
}

static enum status own_messages(const struct field *field, const void *wire, void *own)
{
    size_t count = CONST_AT(size_t, wire, field->wire_count);
    ProtobufCMessage *const *list = pointer_at(wire, field->wire);
    if (count > field->limit)
        return fail(ERR_PROTOCOL, "%s: %zu elements, at most %u", field->name, count, field->limit);
    if (count == 0)
        return OK;
    char *elements = mem_array(count, field->form->bytes);
    pointer_put(own, field->own, elements);
    AT(uint32_t, own, field->own_count) = (uint32_t)count;
    for (size_t i = 0; i < count; i++)
        TRY(own_fill(field->form, list[i], elements + i * field->form->bytes));
    return OK;
}

static enum status own_text(const struct field *field, const void *wire, void *own)
{
    const char *text = pointer_at(wire, field->wire);
    if (text == NULL || text == protobuf_c_empty_string)
        text = "";
    if (strlen(text) > field->limit)
        return fail(ERR_PROTOCOL, "%s: %zu bytes of text, at most %u", field->name, strlen(text),
                    field->limit);
    pointer_put(own, field->own, mem_string(text));
    return OK;
}

static enum status own_bytes(const struct field *field, const void *wire, void *own)
{
    const ProtobufCBinaryData data = CONST_AT(ProtobufCBinaryData, wire, field->wire);
    if (data.len > field->limit)
        return fail(ERR_PROTOCOL, "%s: %zu bytes, at most %u", field->name, data.len, field->limit);
    if (data.len == 0)
        return OK;
    uint8_t *bytes = mem_alloc(data.len);
    memcpy(bytes, data.data, data.len);
    pointer_put(own, field->own, bytes);
    AT(uint32_t, own, field->own_count) = (uint32_t)data.len;
    return OK;
}

static enum status own_phases(const struct field *field, const void *wire, void *own)
{
    size_t count = CONST_AT(size_t, wire, field->wire_count);
    if (count > field->limit)
        return fail(ERR_PROTOCOL, "%s: %zu numbers, at most %u", field->name, count, field->limit);
    if (count > 0)
        memcpy((char *)own + field->own, pointer_at(wire, field->wire), count * sizeof(int64_t));
    return OK;
}

static enum status own_maybe(const struct field *field, const void *wire, void *own)
{
    const ProtobufCMessage *nested = pointer_at(wire, field->wire);
    AT(int, own, field->own_count) = nested != NULL;
    if (nested == NULL)
        return OK;
    return own_fill(field->form, nested, (char *)own + field->own);
}

static enum status own_field(const struct field *field, const void *wire, void *own)
{
    switch (field->kind) {
    case FIELD_TEXT:
        return own_text(field, wire, own);
    case FIELD_BYTES:
        return own_bytes(field, wire, own);
    case FIELD_NUMBERS:
    case FIELD_MORE:
        return own_numbers(field, wire, own);
    case FIELD_PHASES:
        return own_phases(field, wire, own);
    case FIELD_MESSAGES:
        return own_messages(field, wire, own);
    case FIELD_MAYBE:
        return own_maybe(field, wire, own);
    default:
        memcpy((char *)own + field->own, (const char *)wire + field->wire,
               scalar_bytes(field->kind));
        return OK;
    }
}

static enum status own_fill(const struct form *form, const ProtobufCMessage *wire, void *own)
{
    for (const struct field *field = form->fields; field->kind != FIELD_END; field++)
        TRY(own_field(field, wire, own));
    return OK;
}

/* ---- the four directions ---- */

enum status field_encode(const struct form *form, const void *own, struct buf *out)
{
    ProtobufCMessage *wire = NULL;
    enum status status = wire_fill(form, own, &wire);
    if (status == OK) {
        size_t length = protobuf_c_message_get_packed_size(wire);
        status = buf_reserve(out, length);
        if (status == OK)
            out->length += protobuf_c_message_pack(wire, out->bytes + out->length);
    }
    wire_free(form, wire);
    return status;
}

enum status field_decode(const struct form *form, const void *bytes, size_t length, void *own)
{
    size_t most = length > BUDGET_CEILING / BUDGET_FACTOR ? BUDGET_CEILING : length * BUDGET_FACTOR;
    struct budget budget = {BUDGET_FLOOR + most};
    ProtobufCAllocator allocator = {budget_alloc, budget_free, &budget};
    ProtobufCMessage *wire = protobuf_c_message_unpack(form->descriptor, &allocator, length, bytes);
    if (wire == NULL)
        return fail(ERR_PROTOCOL, "%zu bytes are not a %s, or a bloated one", length,
                    form->descriptor->short_name);
    enum status status = own_fill(form, wire, own);
    protobuf_c_message_free_unpacked(wire, &allocator);
    if (status != OK)
        field_done(form, own);
    return status;
}

static void free_messages(const struct field *field, void *own)
{
    char *elements = pointer_at(own, field->own);
    for (uint32_t i = 0; i < AT(uint32_t, own, field->own_count); i++)
        field_done(field->form, elements + i * field->form->bytes);
    mem_free(elements);
}

void field_done(const struct form *form, void *own)
{
    for (const struct field *field = form->fields; field->kind != FIELD_END; field++) {
        if (field->kind == FIELD_TEXT || field->kind == FIELD_BYTES ||
            field->kind == FIELD_NUMBERS || field->kind == FIELD_MORE)
            mem_free(pointer_at(own, field->own));
        else if (field->kind == FIELD_MESSAGES)
            free_messages(field, own);
        else if (field->kind == FIELD_MAYBE)
            field_done(field->form, (char *)own + field->own);
    }
    memset(own, 0, form->bytes);
}

static void *copy_bytes(const void *bytes, size_t length)
{
    return bytes == NULL ? NULL : memcpy(mem_alloc(length), bytes, length);
}

static void copy_messages(const struct field *field, const void *own, void *copy)
{
    const char *from = pointer_at(own, field->own);
    if (from == NULL)
        return;
    uint32_t count = CONST_AT(uint32_t, own, field->own_count);
    char *to = mem_array(count, field->form->bytes);
    for (uint32_t i = 0; i < count; i++)
        field_copy(field->form, from + i * field->form->bytes, to + i * field->form->bytes);
    pointer_put(copy, field->own, to);
}

static void copy_field(const struct field *field, const void *own, void *copy)
{
    switch (field->kind) {
    case FIELD_TEXT:
        pointer_put(copy, field->own, mem_string(pointer_at(own, field->own)));
        break;
    case FIELD_BYTES:
        pointer_put(
            copy, field->own,
            copy_bytes(pointer_at(own, field->own), CONST_AT(uint32_t, own, field->own_count)));
        break;
    case FIELD_NUMBERS:
    case FIELD_MORE:
        pointer_put(copy, field->own,
                    copy_bytes(pointer_at(own, field->own),
                               CONST_AT(uint32_t, own, field->own_count) * sizeof(uint32_t)));
        break;
    case FIELD_MESSAGES:
        copy_messages(field, own, copy);
        break;
    case FIELD_MAYBE:
        field_copy(field->form, (const char *)own + field->own, (char *)copy + field->own);
        break;
    default:
        break; /* copied with the struct */
    }
}

void field_copy(const struct form *form, const void *own, void *copy)
{
    memcpy(copy, own, form->bytes);
    for (const struct field *field = form->fields; field->kind != FIELD_END; field++)
        copy_field(field, own, copy);
}
