/* spool.h - moves what a watched folder brought out of it: SPOOL/accepted or SPOOL/rejected.
 *
 * A file whose pictures were taken stays where it is until they are in a sealed shard: whoever is
 * killed before finds it again, whoever is killed behind finds its pictures in the store. An
 * archive is accepted if any of it was. A file that has changed since it was read is left alone, as
 * is one that could not be read. Nothing is overwritten: `.1`, `.2`, ... are appended. Threads: one
 * owner. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SPOOL_H
#define LOADER_SPOOL_H

#include <stddef.h>

#include "common/status.h"
#include "loader/source.h"

struct spool_file {
    char *path; /* owned */
    struct file_stamp stamp;
};

struct spool {
    const char *directory; /* NULL: nothing is moved */
    const char *root;      /* the watched folder */
    int has_kept;          /* of the file whose items come: some are in the store, or will be */
    size_t count, capacity;
    struct spool_file *kept; /* [count] not in a sealed shard yet; owned */
};

/* Both borrowed. ERR_INPUT: directory lies in root, or on another file system. */
enum status spool_open(struct spool *spool, const char *directory, const char *root);
void spool_done(struct spool *spool);
/* An item has found its place; what nothing was kept of is moved now. ERR_IO: it cannot be. */
enum status spool_judge(struct spool *spool, const struct source_item *item);
/* All that was accepted so far is in sealed shards: moves it. ERR_IO: one or more cannot be. */
enum status spool_release(struct spool *spool);

#endif
