/* witness.h - what a worker writes down about its own doing: the records of a worker's journal.
 *
 * The server's journal says what was decided; these say what became of it, in the words of whoever
 * did it, so that `seer audit` can hold one against the other. A worker's journal is files of
 * consecutive *frames*: length, its complement, a checksum, the record. Each file begins with a
 * WITNESS_BEGIN. A frame that the end of the file cuts off, or zeros up to that end, is what a
 * process or machine that died leaves behind; any other breach is damage. (generation, step) tells
 * the attempts at a step apart: within a generation each step is planned once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_WITNESS_H
#define PROTO_WITNESS_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum {
    WITNESS_FORMAT = 1,
    WITNESS_BYTES_MAX = 4 << 20, /* of a frame's record; a plan fits in a message of that size */
    /* A file is ended behind this: small enough to be read whole, large enough that a year of files
     * can be listed. */
    WITNESS_SEGMENT_BYTES = 16 << 20,
};

/* Both shard and record of an image, where nothing stood. */
#define WITNESS_NO_RECORD UINT32_MAX

enum witness_kind {
    WITNESS_BEGIN = 1, /* whose file this is */
    WITNESS_STATE = 2, /* a generation was formed, and it holds the state that starts there */
    WITNESS_STEP = 3,  /* a step that it had computed was decided, and that was done */
};

struct witness_begin {
    uint32_t format;
    uint64_t run, worker;
    uint32_t segment; /* files of this worker before this one */
    char *name;       /* of the worker, for people */
};

struct witness_state {
    uint64_t generation, step; /* committed steps in the state */
    uint32_t lineage;
    int is_own;      /* it had come there by the steps in its journal; 0: the state was received */
    uint64_t digest; /* of parameters, momentum, statistics, queue */
};

struct witness_slot {
    uint32_t slot;     /* index within the step */
    uint64_t position; /* of its first image in the stream */
};

/* The record whose pixels were trained at a place: the planned one, or its replacement. */
struct witness_image {
    uint32_t shard, record;
};

struct witness_step {
    uint64_t generation, step;
    uint32_t lineage;
    int is_applied;  /* 0: skipped, no parameter changed */
    uint64_t digest; /* of the reduced gradient */
    uint32_t slot_count, slot_images;
    struct witness_slot *slots;   /* [slot_count] */
    struct witness_image *images; /* [slot_count][slot_images] */
};

struct witness {
    enum witness_kind kind;
    uint32_t missed; /* records just before this one that could not be written */
    union {
        struct witness_begin begin;
        struct witness_state state;
        struct witness_step step;
    };
};

/* Appends the record's frame. ERR_INPUT past out's limit or WITNESS_BYTES_MAX. */
enum status witness_encode(const struct witness *witness, struct buf *out);
/* Reads the frame at the start of hostile bytes that go on to the end of their file. On OK the
 * caller owns *ret_witness (witness_done) and the next frame begins *ret_taken bytes further on.
 * ERR_END: the file ends here, perhaps within a frame. ERR_CORRUPT says what is wrong. */
enum status witness_decode(const void *bytes, size_t length, struct witness *ret_witness,
                           size_t *ret_taken);
/* Frees what it points to; the struct itself is the caller's. A zeroed one is fine. */
void witness_done(struct witness *witness);

#endif
