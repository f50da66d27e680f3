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

/* Bytes [offset, offset+length) of a snapshot of total bytes. */
struct snapshot_share {
    char *name;
    uint64_t step;
    uint32_t lineage;
    uint64_t offset, length, total;
    uint8_t *bytes; /* [length]; owned, like the name */
};

/* Copies share `begin->share` of `begin->share_count` of the state as it is. */
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
