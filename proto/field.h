/* field.h - moves values between plain structs and protobuf-c's, driven by tables.
 *
 * A message is described once, as a table of fields; encoding, decoding, freeing and copying follow
 * from the table. So a new field is one row, and no hand-written walk can forget it. Text that is
 * NULL is sent as absent and arrives as "". */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_FIELD_H
#define PROTO_FIELD_H

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum field_kind {
    FIELD_END = 0,
    FIELD_U32,
    FIELD_U64,
    FIELD_I64,
    FIELD_BOOL,
    FIELD_DOUBLE,
    FIELD_TEXT,     /* char *, owned */
    FIELD_BYTES,    /* uint32_t length and uint8_t *, owned */
    FIELD_NUMBERS,  /* uint32_t count and uint32_t *, owned */
    FIELD_MORE,     /* as FIELD_NUMBERS with the count of an earlier one, which it must match */
    FIELD_PHASES,   /* int64_t[limit], in place */
    FIELD_MESSAGES, /* uint32_t count and array of structs, owned */
    FIELD_MAYBE,    /* int has and a struct, in place */
};

struct field {
    enum field_kind kind;
    const char *name;
    size_t own;              /* offset of the value in our struct */
    size_t own_count;        /* offset of its count, length or has, where the kind has one */
    size_t wire;             /* offset of the value in protobuf-c's struct */
    size_t wire_count;       /* offset of its n_ or has_ */
    uint32_t limit;          /* text bytes, elements */
    const struct form *form; /* of nested messages */
};

/* One message: our struct, protobuf-c's struct, and what is in them. */
struct form {
    size_t bytes; /* of our struct */
    const ProtobufCMessageDescriptor *descriptor;
    const struct field *fields; /* ends with FIELD_END */
};

/* Text and nested fields by the type of our member. */
#define FIELD_KIND_OF(value)                                                                       \
    _Generic((value), uint32_t                                                                     \
             : FIELD_U32, uint64_t                                                                 \
             : FIELD_U64, int64_t                                                                  \
             : FIELD_I64, int                                                                      \
             : FIELD_BOOL, double                                                                  \
             : FIELD_DOUBLE)

#define FIELD_SCALAR(struct_, wire_, member_)                                                      \
    {                                                                                              \
        .kind = FIELD_KIND_OF(((struct struct_ *)0)->member_), .name = #member_,                   \
        .own = offsetof(struct struct_, member_), .wire = offsetof(wire_, member_),                \
        .wire_count = offsetof(wire_, has_##member_)                                               \
    }

#define FIELD_STRING(struct_, wire_, member_, limit_)                                              \
    {                                                                                              \
        .kind = FIELD_TEXT, .name = #member_, .own = offsetof(struct struct_, member_),            \
        .wire = offsetof(wire_, member_), .limit = (limit_)                                        \
    }

/* kind_ is FIELD_NUMBERS, FIELD_MORE or FIELD_MESSAGES. */
#define FIELD_REPEATED(kind_, struct_, wire_, count_, member_, limit_, form_)                      \
    {                                                                                              \
        .kind = (kind_), .name = #member_, .own = offsetof(struct struct_, member_),               \
        .own_count = offsetof(struct struct_, count_), .wire = offsetof(wire_, member_),           \
        .wire_count = offsetof(wire_, n_##member_), .limit = (limit_), .form = (form_)             \
    }

#define FIELD_DATA(struct_, wire_, length_, member_, limit_)                                       \
    {                                                                                              \
        .kind = FIELD_BYTES, .name = #member_, .own = offsetof(struct struct_, member_),           \
        .own_count = offsetof(struct struct_, length_), .wire = offsetof(wire_, member_),          \
        .wire_count = offsetof(wire_, has_##member_), .limit = (limit_)                            \
    }

/* Appends the packed struct to out. ERR_INPUT past out's limit or a field's limit. */
enum status field_encode(const struct form *form, const void *own, struct buf *out);
/* Unpacks hostile bytes with memory that is bounded by a multiple of their length, and checks
 * every limit. ERR_PROTOCOL with the field's name. On OK the caller owns what *own (zeroed before,
 * form->bytes long) points to; otherwise nothing. */
enum status field_decode(const struct form *form, const void *bytes, size_t length, void *own);
/* Frees what the struct points to and zeroes it. */
void field_done(const struct form *form, void *own);
/* Makes *copy (of which nothing is freed) a deep copy. */
void field_copy(const struct form *form, const void *own, void *copy);

#endif
