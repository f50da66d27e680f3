/* ingest.h - from sources to sealed shards: read, decode once, refuse or keep, write.
 *
 * One thread reads the sources, several decode, the caller's writes; records stand in the shards in
 * the order of the sources, whatever the number of decoders. An image that cannot be used is
 * counted and reported, and ingest goes on. What is sealed stays valid whatever happens later. A
 * store takes one ingest at a time; a second one waits until the first has ended, or, of one that
 * watches a folder, until its present shard is sealed. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_INGEST_H
#define LOADER_INGEST_H

#include <stdatomic.h>
#include <stdint.h>

#include "common/status.h"
#include "loader/image.h"
#include "loader/source.h"
#include "loader/store.h"

enum { INGEST_JOBS_MAX = 64 };

struct ingest_options {
    const char *const *sources; /* [source_count] paths, "-" for a list on stdin */
    int source_count;
    const char *store;
    struct source_options source;
    struct image_limits limits;
    uint64_t shard_bytes; /* of images, after which a new shard is begun */
    int64_t seal_ms;      /* a shard that is so old is sealed, however small; 0: never */
    int is_living;        /* what comes of it may expire (store.h) */
    const char *spool;    /* where files of a watched folder are moved to; or NULL */
    uint64_t limit;       /* stop after accepting this many; 0: no limit */
    int jobs;             /* decode threads, 1 to INGEST_JOBS_MAX */
    int is_dry_run;       /* decode and count, write nothing */
    int is_keeping_duplicates;
    int is_quiet;       /* no progress */
    const char *report; /* file that gets a line of JSON per refused image; or NULL */
    atomic_int *stop;   /* set by a signal handler: seal what is there and return; or NULL */
    /* Called once if another ingest has the store and must be waited for; pid 0: unknown; or NULL.
     */
    void (*waiting)(const char *store, int pid);
    void (*sealed)(const struct store_shard *shard); /* called for each; or NULL */
    void (*complain)(const char *words);             /* of a file that cannot be moved; or NULL */
};

struct ingest_result {
    uint64_t scanned;
    uint64_t accepted;
    uint64_t labelled;
    uint64_t formats[IMAGE_FORMAT_COUNT]; /* of accepted images */
    uint64_t cut; /* of the accepted: files that broke off, stored without the rows that lack */
    uint64_t duplicates;
    uint64_t rejected[IMAGE_REASON_COUNT];
    uint64_t rejected_count; /* their sum */
    uint64_t bytes;          /* of accepted images */
    double seconds;
    int is_stopped; /* by options->stop */
    uint32_t shard_count;
    struct store_shard *shards; /* [shard_count] sealed by this ingest; owned */
};

/* Blocks until all is done. On failure ret_result still says what was sealed: call
 * ingest_result_done in any case. ERR_INPUT: a source or the store. ERR_IO: disk. */
enum status ingest_run(const struct ingest_options *options, struct ingest_result *ret_result);
void ingest_result_done(struct ingest_result *result);

#endif
