/* loader_message.h - the words that workers and shard servers exchange, as plain values.
 *
 * loader.proto is the wire form; loader_message.c alone knows the generated code. A worker greets a
 * loader and grants it credit; the loader says what it holds, and again whenever that changes; the
 * worker asks for records of its plans, and gets them as far as its credit goes. A struct
 * loader_message owns all it points to. What is decoded here has passed the limits below. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_LOADER_MESSAGE_H
#define PROTO_LOADER_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum {
    LOADER_PROTOCOL_VERSION = 1,
    LOADER_MESSAGE_BYTES_MAX = 2 << 20, /* on the wire; larger is refused before unpacking */
    LOADER_NAME_MAX = 255,              /* bytes of a shard's name, which is a file's */
    LOADER_REASON_MAX = 255,
    LOADER_PAGE_SHARDS = 2048, /* of one inventory or read */
    LOADER_READ_RECORDS = 4096,
    LOADER_PARTS_MAX = 4096,
    LOADER_PART_BYTES = 1 << 20,        /* of image in one message, over all its parts */
    LOADER_RECORD_BYTES_MAX = 64 << 20, /* one image; as record.h has it */
};

enum loader_message_kind {
    /* worker -> loader */
    LOADER_GREETING = 1, /* first on every connection */
    LOADER_READ = 2,
    LOADER_URGE = 3,
    LOADER_CREDIT = 4,
    LOADER_FORGET = 5,
    /* loader -> worker */
    LOADER_INVENTORY = 20,
    LOADER_RECORDS = 21,
    LOADER_REFUSAL = 22,
};

/* May the loader send: so many bytes of images and so many records, beyond what it had. */
struct loader_credit {
    uint64_t bytes;
    uint32_t records;
};

struct loader_greeting {
    uint32_t protocol;
    char *name; /* the worker's, for people */
    uint64_t credit_bytes;
    uint32_t credit_records;
};

enum loader_shard_state {
    LOADER_SHARD_HELD = 1, /* its records can be read */
    LOADER_SHARD_DAMAGED,  /* it is there and cannot be read; reason says why */
    LOADER_SHARD_GONE,
};

struct loader_shard {
    char *name;
    uint32_t state;
    uint32_t records;
    uint64_t bytes;        /* of its images */
    uint64_t content_hash; /* XXH3-64 of data.mdb by its manifest; 0: it has none */
    char *reason;
};

/* is_first: forget what was said before. A whole inventory ends with is_last; then come changes,
 * which are neither. */
struct loader_inventory {
    uint32_t protocol;
    int is_first, is_last;
    uint32_t shard_count;
    struct loader_shard *shards;
};

/* The record of index i in shard shards[which[i]] is request + i. Of the shards name and
 * content_hash count. Requests of a connection only grow; they are answered in that order, but for
 * urged ones. */
struct loader_read {
    uint64_t request;
    uint32_t shard_count;
    struct loader_shard *shards;
    uint32_t record_count;
    uint32_t *which;   /* [record_count] */
    uint32_t *records; /* [record_count] */
};

/* LOADER_URGE: somebody waits for this one; send it next, whatever the credit. LOADER_FORGET:
 * nobody wants these any more, [request, request + count). What was sent meanwhile is charged all
 * the same. */
struct loader_request {
    uint64_t request;
    uint32_t count;
};

/* Bytes [offset, offset + length) of an image file of `total` bytes, whose XXH3-64 is digest. The
 * first part of a record charges it to the credit, whole. */
struct loader_part {
    uint64_t request;
    uint32_t offset, total;
    uint64_t digest;
    uint32_t length;
    uint8_t *data;
};

struct loader_records {
    uint32_t part_count;
    struct loader_part *parts;
};

enum loader_refusal_cause {
    LOADER_REFUSAL_NOT_HELD = 1, /* the shard is not there, or cannot be read any more */
    LOADER_REFUSAL_BAD_RECORD,   /* this record of it is damaged or does not exist */
    LOADER_REFUSAL_STRANGER,     /* greet first, in this protocol; of no request */
};

struct loader_refusal {
    uint64_t request;
    uint32_t cause;
    char *reason;
};

struct loader_message {
    enum loader_message_kind kind;
    union {
        struct loader_greeting greeting;
        struct loader_inventory inventory;
        struct loader_read read;
        struct loader_request request; /* LOADER_URGE, LOADER_FORGET */
        struct loader_credit credit;
        struct loader_records records;
        struct loader_refusal refusal;
    };
};

/* Appends to out. ERR_INPUT past a limit. */
enum status loader_message_encode(const struct loader_message *message, struct buf *out);
/* Hostile bytes. ERR_PROTOCOL; on OK the caller owns *ret_message. */
enum status loader_message_decode(const void *bytes, size_t length,
                                  struct loader_message *ret_message);
/* Frees what it points to and zeroes it. */
void loader_message_done(struct loader_message *message);
const char *loader_message_name(enum loader_message_kind kind);

#endif
