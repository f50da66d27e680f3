/* shard.h - reading one sealed LMDB environment of encoded images by index.
 *
 * Takes our own shards and Caffe's (value: a Datum) as well as LSUN-style ones (value: the image
 * file itself); the first value tells. A shard is opened without LMDB's locks, so it may lie on a
 * read-only mount and be unlinked while in use, but must never be written while open. The structure
 * of all pages is checked at open (shard_check.h), since LMDB itself trusts them.
 *
 * Threads: a shard may be shared; each thread reads through a shard_reader of its own. Readers are
 * closed before their shard. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_H
#define LOADER_SHARD_H

#include <stdint.h>

#include "common/status.h"
#include "loader/record.h"

struct shard;
struct shard_reader; /* one read transaction */

/* path: a directory with data.mdb, or the LMDB file itself; copied. Blocks on disk. ERR_INPUT:
 * there is no shard, or one of a kind we do not read. ERR_CORRUPT: damaged. ERR_DEVICE: this
 * process or its host is short of descriptors or memory. Messages name path and remedy. */
enum status shard_open(const char *path, struct shard **ret_shard);
/* The same, of one whose Datums may hold raw pixels: for shard_read_any. */
enum status shard_open_any(const char *path, struct shard **ret_shard);
void shard_close(struct shard *shard); /* NULL is fine */
uint32_t shard_record_count(const struct shard *shard);
const char *shard_path(const struct shard *shard);

enum status shard_reader_open(struct shard *shard, struct shard_reader **ret_reader);
void shard_reader_close(struct shard_reader *reader); /* NULL is fine */
/* The record at index, without a copy: its bytes live as long as the reader. Costs one descent of
 * the tree. ERR_INPUT: index out of range. ERR_CORRUPT: this record is damaged; others may be fine.
 */
enum status shard_read(struct shard_reader *reader, uint32_t index, struct record *ret_record);
/* The same, of raw pixels too: record_decode_any. */
enum status shard_read_any(struct shard_reader *reader, uint32_t index, struct record *ret_record,
                           int *ret_channels);

#endif
