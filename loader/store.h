/* store.h - a directory of sealed shards, and what their manifests say.
 *
 *     STORE/shards/NAME/data.mdb        records; never changes once it is there
 *     STORE/shards/NAME/manifest.json   counts, bytes, hash, time; small enough to read at once
 *     STORE/shards/NAME/hashes.bin      XXH3-128 of each record's image, in order
 *     STORE/unsealed/NAME/              a shard being written; its owner holds a lock in it
 *     STORE/labels.txt                  line i is the name of label i
 *     STORE/lock                        whose holder may add shards and labels (store_lock.h)
 *
 * Names sort by time. Ingest may add shards while others read: a store_load is a snapshot. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_STORE_H
#define LOADER_STORE_H

#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"

enum { STORE_SCHEMA_VERSION = 1 };

struct store_shard {
    char *name; /* owned; unique within the store */
    char *path; /* owned; for shard_open */
    uint32_t record_count;
    uint32_t label_count;  /* records that have a label */
    uint64_t bytes;        /* of all images */
    uint64_t file_bytes;   /* of data.mdb */
    uint64_t content_hash; /* XXH3-64 of data.mdb */
    int64_t created_ms;    /* since 1970, UTC */
    int is_living;         /* part of a stream that refreshes itself: it may expire */
    int has_manifest;      /* 0: foreign shard; counts come from opening it, hash is 0 */
};

struct store {
    char *path; /* owned */
    uint32_t shard_count;
    struct store_shard *shards; /* [shard_count], sorted by name; owned */
    uint64_t record_count;
    uint64_t bytes;
};

/* Looks whether path is a store, at no shard of it. ERR_INPUT: it is none; ERR_IO. */
enum status store_require(const char *path);
/* Reads all manifests. A foreign LMDB directory under shards/ without a manifest is opened to count
 * it. ERR_INPUT: path is not a store. ERR_CORRUPT: a manifest is damaged. */
enum status store_load(const char *path, struct store *ret_store);
/* As store_load, but a shard whose manifest is damaged or of a newer format is left out, and
 * damaged is told of it: for those who must go on with the rest. */
enum status store_load_sound(const char *path, void (*damaged)(void *context, const char *reason),
                             void *context, struct store *ret_store);
void store_done(struct store *store);

/* Reads or writes the manifest of one shard directory. */
enum status store_manifest_load(const char *directory, struct store_shard *ret_shard);
enum status store_manifest_save(const char *directory, const struct store_shard *shard);
void store_shard_done(struct store_shard *shard);

/* XXH3-64 of a whole file. */
enum status store_hash_file(const char *path, uint64_t *ret_hash);

#endif
