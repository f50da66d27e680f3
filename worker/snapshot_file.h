/* snapshot_file.h - the training state as the bytes of one safetensors file.
 *
 * The file is a function of state and identity alone, so members agree on it without a word: each
 * makes the header, copies its own share of the bytes and pushes it. The block of state.h pads its
 * tensors and orders them by kind, the file has no holes and orders them by name; gathering and
 * scattering translate between a range of the file and the block. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SNAPSHOT_FILE_H
#define WORKER_SNAPSHOT_FILE_H

#include <stdint.h>

#include "common/buf.h"
#include "common/safetensors.h"
#include "common/status.h"
#include "proto/message.h"
#include "worker/state.h"

/* What the file says about itself. */
struct snapshot_identity {
    uint64_t run, step;
    uint32_t lineage;
    const char *config_text; /* as the server sent it */
};

/* At most MESSAGE_PART_BYTES of the file from `offset` on; they lie at bytes + at. */
struct snapshot_part {
    uint64_t offset, at;
    uint32_t length;
};

/* Some of the bytes of a snapshot of total bytes. */
struct snapshot_share {
    char *name;
    uint64_t step;
    uint32_t lineage;
    uint64_t length, total;
    uint8_t *bytes; /* [length]; owned, like the name and the parts */
    uint32_t part_count, part_capacity;
    struct snapshot_part *parts; /* by rising offset */
};

/* The share has bytes [offset, offset + length) of the file too, which lie behind all that it has
 * added before. */
void snapshot_share_add(struct snapshot_share *share, uint64_t offset, uint64_t length);
/* Copies share `begin->share` of `begin->share_count` of the state as it is: a run of the file, but
 * of a sharded momentum the slices that begin names. ERR_STALE: those are not here. */
enum status snapshot_share_create(const struct message_snapshot_begin *begin,
                                  const struct snapshot_identity *identity, struct state *state,
                                  struct snapshot_share **ret_share);
void snapshot_share_destroy(struct snapshot_share *share); /* NULL is fine */

/* Reading: bytes come in order from the start. */
struct snapshot_reader {
    struct state *state; /* borrowed */
    const char *name;    /* borrowed; for messages */
    uint64_t step;       /* expected */
    struct buf head;     /* what came of the header */
    struct safetensors_header header;
    int has_header;
    uint64_t offset; /* bytes taken so far */
};

void snapshot_reader_init(struct snapshot_reader *reader, struct state *state, const char *name,
                          uint64_t step);
void snapshot_reader_done(struct snapshot_reader *reader);
/* The next bytes of a file of total bytes. ERR_CORRUPT; ERR_INPUT: of another model or step. */
enum status snapshot_reader_take(struct snapshot_reader *reader, const uint8_t *bytes,
                                 size_t length, uint64_t total);

#endif
