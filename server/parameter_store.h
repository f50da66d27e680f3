/* parameter_store.h - snapshots of the whole training state: received in parts, complete or absent.
 *
 * Members push disjoint byte ranges of one safetensors file. Parts are checked and written to
 * NAME.safetensors.tmp; when every byte is there, the header is checked against the size, digests
 * of the tensors are written into it, the file is flushed and renamed. What was not complete when
 * the server ended is removed at the next start. A failing disk fails that snapshot and nothing
 * else; a file that was damaged since is not served. One thread. */
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

/* directory is made when it is not there; unfinished files in it are removed. */
enum status parameter_store_open(const char *directory, struct parameter_store **ret_store);
void parameter_store_close(struct parameter_store *store); /* NULL is fine */

/* May a new snapshot have this name? ERR_INPUT: it is taken: what an operator named stays until an
 * operator removes it; or as snapshot_name_check_given. */
enum status parameter_store_check_new(struct parameter_store *store, const char *name);

/* From now on parts of name are taken. Only one snapshot is expected at a time: another one that is
 * unfinished is dropped. */
enum status parameter_store_expect(struct parameter_store *store, const char *name);
/* Stops expecting name (any, if NULL) and removes what came of it. */
void parameter_store_drop(struct parameter_store *store, const char *name);
/* Writes a part. *ret_is_complete: with it all bytes were there and the snapshot is now durable.
 * The same part twice is fine. ERR_STALE: nobody expects it. ERR_CORRUPT: its checksum does not
 * match, or the whole is no safetensors file. ERR_IO: the disk refused. After any of the last two
 * the snapshot is gone; the caller tells the others. */
enum status parameter_store_write(struct parameter_store *store,
                                  const struct message_snapshot_part *part, int *ret_is_complete);
/* Fills a part with up to read->length bytes at read->offset; at the end of the file it is shorter.
 * ERR_INPUT: no such snapshot; ERR_CORRUPT: it is damaged (snapshot_folder_verify), which is found
 * before the first part of a file is given out. ERR_DEVICE, ERR_IO: neither is known now. The
 * caller owns the part's data and name. */
enum status parameter_store_read(struct parameter_store *store,
                                 const struct message_snapshot_read *read,
                                 struct message_snapshot_part *ret_part);

/* Durable when it returns; twice is fine. ERR_INPUT: no such snapshot. ERR_STALE: it is claimed. */
enum status parameter_store_pin(struct parameter_store *store, const char *name, int is_pinned);
/* A removal is decided in steps, and between them nobody may pin it: from now on it is refused,
 * until it is removed or kept. So either the pin was first, and there is no removal, or there is no
 * pin. ERR_INPUT: no name, or it is pinned. *ret_exists: is there anything to remove? */
enum status parameter_store_claim(struct parameter_store *store, const char *name, int *ret_exists);
/* It is not removed after all; one that is not claimed is fine. */
void parameter_store_keep(struct parameter_store *store, const char *name);
/* Durable when it returns; one that is not there is fine. ERR_INPUT: pinned; ERR_IO. */
enum status parameter_store_remove(struct parameter_store *store, const char *name);
/* Where its files are: for snapshot_folder.h. Borrowed. */
const char *parameter_store_directory(const struct parameter_store *store);

#endif
