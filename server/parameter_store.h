/* parameter_store.h - snapshots of the whole training state: received in parts, complete or absent.
 *
 * Members push disjoint byte ranges of one safetensors file. Parts are checked and written to
 * NAME.safetensors.tmp; when every byte is there, the header is checked against the size, the file
 * is flushed and renamed. What was not complete when the server ended is removed at the next start.
 * A failing disk fails that snapshot and nothing else. File names carry step and lineage, so the
 * directory alone tells what there is. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_PARAMETER_STORE_H
#define SERVER_PARAMETER_STORE_H

#include <stdint.h>

#include "common/status.h"
#include "proto/message.h"
#include "server/snapshot_name.h"

enum { PARAMETER_STORE_BYTES_MAX_SHIFT = 44 /* 16 TiB: more is a mistake */ };

struct parameter_store;

struct snapshot_info {
    char name[JOURNAL_NAME_BYTES];
    uint64_t step, bytes;
    uint32_t lineage;
    int is_pinned;
    int64_t modified_ms; /* wall clock */
};

/* directory is made when it is not there; unfinished files in it are removed. */
enum status parameter_store_open(const char *directory, struct parameter_store **ret_store);
/* To list and read beside the server that owns it: changes nothing. ERR_INPUT: no such directory.
 */
enum status parameter_store_open_reader(const char *directory, struct parameter_store **ret_store);
void parameter_store_close(struct parameter_store *store); /* NULL is fine */

/* May a new snapshot have this name? ERR_INPUT: it is taken: what an operator named stays until an
 * operator removes it; or as snapshot_name_check_given. */
enum status parameter_store_check_new(struct parameter_store *store, const char *name);

/* From now on parts of name are taken. Only one snapshot is expected at a time: another one that is
 * unfinished is dropped. */
enum status parameter_store_expect(struct parameter_store *store, const char *name, uint64_t step,
                                   uint32_t lineage);
/* Stops expecting name (any, if NULL) and removes what came of it. */
void parameter_store_drop(struct parameter_store *store, const char *name);
/* Writes a part. *ret_is_complete: with it all bytes were there and the snapshot is now durable.
 * The same part twice is fine. ERR_STALE: nobody expects it. ERR_CORRUPT: its checksum does not
 * match, or the whole is no safetensors file. ERR_IO: the disk refused. After any of the last two
 * the snapshot is gone; the caller tells the others. */
enum status parameter_store_write(struct parameter_store *store,
                                  const struct message_snapshot_part *part, int *ret_is_complete);
/* Fills a part with up to read->length bytes at read->offset; at the end of the file it is shorter.
 * ERR_INPUT: no such snapshot. The caller owns the part's data and name. */
enum status parameter_store_read(struct parameter_store *store,
                                 const struct message_snapshot_read *read,
                                 struct message_snapshot_part *ret_part);

/* Complete snapshots, by lineage and step; the list is the caller's (mem_free). */
enum status parameter_store_list(struct parameter_store *store, struct snapshot_info **ret_list,
                                 int *ret_count);
/* Durable when it returns; twice is fine. ERR_INPUT: no such snapshot. */
enum status parameter_store_pin(struct parameter_store *store, const char *name, int is_pinned);
/* ERR_INPUT: no name, or it is pinned. *ret_exists: is there anything to remove? */
enum status parameter_store_check_removable(struct parameter_store *store, const char *name,
                                            int *ret_exists);
/* Durable when it returns; one that is not there is fine. ERR_INPUT: pinned; ERR_IO. */
enum status parameter_store_remove(struct parameter_store *store, const char *name);
/* What the policy does not keep, of those with automatic names: the last keep_last stay, every
 * keep_every-th (by step / every_steps; 0: none) and pinned ones. Calls surplus for each; it may be
 * removed meanwhile. Failures are logged. */
void parameter_store_find_surplus(struct parameter_store *store, int64_t keep_last,
                                  int64_t keep_every, int64_t every_steps,
                                  void (*surplus)(void *context, const char *name), void *context);
/* Borrowed. */
const char *parameter_store_directory(const struct parameter_store *store);

#endif
