/* disk.h - threads for the server's slow file work: the loop never waits for a disk.
 *
 * A job is a value that its maker embeds a struct disk_job in, first. Pushing gives it away to a
 * lane: one thread that runs its jobs in the order of pushing; lanes do not wait for each other.
 * What was run comes back to the thread that pushed (the loop), which finishes it: there its result
 * becomes an event or an answer. So every job has one owner at any moment and needs no lock. What
 * is not begun when the disk is destroyed is never run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_DISK_H
#define SERVER_DISK_H

#include <stddef.h>

#include "common/status.h"

struct disk;
struct disk_job;

enum disk_lane {
    DISK_SNAPSHOTS, /* all that touches the parameter store */
    DISK_STORES,    /* looking for shards: reads whole stores, which may take minutes */
    DISK_LANES,
};

struct disk_job_ops {
    void (*run)(struct disk_job *job);                   /* lane's thread; may block */
    void (*finish)(struct disk_job *job, void *context); /* loop's thread; must not */
    void (*destroy)(struct disk_job *job);               /* either; also of jobs never run */
};

struct disk_job {
    const struct disk_job_ops *ops; /* static */
};

/* Starts the threads. capacity: jobs that a lane holds. ERR_IO. */
enum status disk_create(size_t capacity, struct disk **ret_disk);
/* Waits for the jobs that run, drops the others. NULL is fine. */
void disk_destroy(struct disk *disk);
/* Takes *job and leaves NULL; never waits. ERR_STALE: the lane is full, the job is destroyed: its
 * work is not going to happen. */
enum status disk_push(struct disk *disk, enum disk_lane lane, struct disk_job **job);
/* Readable (POLLIN) while there are jobs to finish; the disk's own. */
int disk_event(const struct disk *disk);
/* Finishes and destroys up to `most` jobs that were run. context: for their finish. */
void disk_finish(struct disk *disk, int most, void *context);

#endif
