/* shard_writer.h - writing one shard, complete or absent.
 *
 * Records go into STORE/unsealed/NAME; sealing flushes them, writes the manifest beside them and
 * renames the directory into STORE/shards. A process that dies leaves only a directory in
 * unsealed/, which shard_writer_clean removes once the lock of its owner is gone. Threads: one
 * owner. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SHARD_WRITER_H
#define LOADER_SHARD_WRITER_H

#include <stdint.h>

#include "common/hash.h"
#include "common/status.h"
#include "loader/record.h"
#include "loader/store.h"

struct shard_writer;

/* name is unique within the store; limit_bytes bounds the sum of the images' bytes. ERR_IO. */
enum status shard_writer_open(const char *store, const char *name, uint64_t limit_bytes,
                              struct shard_writer **ret_writer);
/* Its manifest will say that it may expire (is_living of struct store_shard). */
void shard_writer_mark_living(struct shard_writer *writer);
/* Appends a record. hash: of record->bytes. ERR_IO with the system's words, e.g. on a full disk:
 * the writer is then of no more use. */
enum status shard_writer_add(struct shard_writer *writer, const struct record *record,
                             struct hash128 hash);
uint32_t shard_writer_count(const struct shard_writer *writer);
uint64_t shard_writer_bytes(const struct shard_writer *writer); /* of the images so far */
/* Makes the shard visible and leaves *writer NULL, whatever the outcome. On OK ret_shard describes
 * it (store_shard_done). */
enum status shard_writer_seal(struct shard_writer **writer, struct store_shard *ret_shard);
/* Drops an unsealed shard and its files; NULL is fine. */
void shard_writer_destroy(struct shard_writer *writer);

/* Removes what dead writers left in STORE/unsealed. */
enum status shard_writer_clean(const char *store);

#endif
