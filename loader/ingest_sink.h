/* ingest_sink.h - where decoded pictures go: refused, known already, or into a shard.
 *
 * Holds what the store has: labels, hashes, its lock. An ingest that watches a folder holds the
 * lock only while a shard of its own is open, so that others get their turn between; when it takes
 * it again it looks at what they, or an expiry, changed. Threads: one owner, but for
 * ingest_sink_knows and ingest_sink_decode. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_INGEST_SINK_H
#define LOADER_INGEST_SINK_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "common/clock.h"
#include "loader/hash_set.h"
#include "loader/ingest.h"
#include "loader/ingest_report.h"
#include "loader/labels.h"
#include "loader/shard_writer.h"
#include "loader/spool.h"

enum { INGEST_STEM_BYTES = CLOCK_TEXT_BYTES + 16 /* time and pid */ };

struct ingest_sink {
    const struct ingest_options *options; /* borrowed */
    struct ingest_result *result;         /* borrowed */
    int store_lock;                       /* -1: not held */
    struct timespec changed;              /* the shards' folder, when `seen` was true of it */
    struct labels labels;
    struct ingest_report report;
    struct spool spool;
    struct shard_writer *writer; /* NULL between shards */
    int64_t shard_ms;            /* when its first picture came */
    char name_stem[INGEST_STEM_BYTES];
    pthread_mutex_t lock; /* guards seen */
    struct hash_set seen;
};

/* A picture that was read and, unless item.reason says why not, decoded or known already. Named so
 * as not to be taken for the loader's own struct image. */
struct ingest_picture {
    struct source_item item;
    struct hash128 hash;
    int is_known; /* ingest_sink_knows said so: it was not decoded */
    int32_t width, height;
    int is_cut; /* the item is a PNG of the rows that were there */
};

/* Nothing is touched yet. Both borrowed. */
void ingest_sink_init(struct ingest_sink *sink, const struct ingest_options *options,
                      struct ingest_result *result);
/* Drops what is not sealed. */
void ingest_sink_done(struct ingest_sink *sink);
/* Makes the store, waits for its lock, reads what it holds. ERR_END: stopped while waiting. */
enum status ingest_sink_open(struct ingest_sink *sink);
/* Is the picture in the store, or on the way there? Then it need not be decoded. Any thread. */
int ingest_sink_knows(struct ingest_sink *sink, struct hash128 hash);
/* Decodes what is not known: its size, or why it is refused. With the caller's image. Any thread.
 */
void ingest_sink_decode(const struct ingest_sink *sink, struct ingest_picture *picture,
                        struct image *image);
/* Counts, reports and stores it. Failures end the ingest. */
enum status ingest_sink_put(struct ingest_sink *sink, struct ingest_picture *picture);
/* clock_ms by which the open shard is to be sealed; -1: none. */
int64_t ingest_sink_deadline(const struct ingest_sink *sink);
/* Seals the open shard, if there is one, and lets go of what waited for that. */
enum status ingest_sink_seal(struct ingest_sink *sink);
enum status ingest_sink_close(struct ingest_sink *sink);

#endif
