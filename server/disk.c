/* disk.c - lanes of jobs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/disk.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/queue.h"
#include "common/thread.h"

struct lane {
    struct disk *disk;
    struct queue *jobs; /* struct disk_job, loop to lane */
    struct thread thread;
};

struct disk {
    struct lane lanes[DISK_LANES];
    struct queue *done; /* struct disk_job, lanes to loop */
    int event;          /* eventfd, a semaphore: counts the jobs in `done` */
};

static void job_destroy(void *item)
{
    struct disk_job *job = item;
    if (job != NULL)
        job->ops->destroy(job);
}

/* Without the event the loop would never look: then the process is of no use any more. */
static void tell_loop(const struct disk *disk)
{
    uint64_t one = 1;
    CHECK(write(disk->event, &one, sizeof(one)) == sizeof(one));
}

static void lane_run(void *argument)
{
    struct lane *lane = argument;
    struct disk *disk = lane->disk;
    void *item = NULL;
    while (queue_pop(lane->jobs, -1, &item) == OK) {
        struct disk_job *job = item;
        job->ops->run(job);
        if (queue_push(disk->done, &item, -1) == OK)
            tell_loop(disk);
        else /* the disk is being destroyed */
            job_destroy(item);
    }
}

static enum status lane_start(struct lane *lane, struct disk *disk, const char *name,
                              size_t capacity)
{
    lane->disk = disk;
    lane->jobs = queue_create(capacity);
    return thread_start(&lane->thread, name, lane_run, lane);
}

enum status disk_create(size_t capacity, struct disk **ret_disk)
{
    static const char *const names[DISK_LANES] = {"disk-snapshots", "disk-stores"};
    struct disk *disk = mem_zero(sizeof(*disk));
    enum status status = OK;
    disk->done = queue_create(capacity);
    disk->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
    if (disk->event < 0)
        status = fail(ERR_IO, "cannot make an eventfd: %s", strerror(errno));
    for (int i = 0; i < DISK_LANES && status == OK; i++)
        status = lane_start(&disk->lanes[i], disk, names[i], capacity);
    if (status != OK) {
        disk_destroy(disk);
        return status;
    }
    *ret_disk = disk;
    return OK;
}

/* Closing lets a lane drain what it holds: taken from it here, unless the lane is faster. */
static void lane_stop(struct lane *lane)
{
    void *item = NULL;
    if (lane->jobs == NULL)
        return;
    queue_close(lane->jobs);
    while (queue_pop(lane->jobs, 0, &item) == OK)
        job_destroy(item);
    thread_stop(&lane->thread);
    queue_destroy(lane->jobs, NULL);
}

void disk_destroy(struct disk *disk)
{
    if (disk == NULL)
        return;
    queue_close(disk->done); /* nobody finishes any more: a lane must not wait for room */
    for (int i = 0; i < DISK_LANES; i++)
        lane_stop(&disk->lanes[i]);
    queue_destroy(disk->done, job_destroy);
    if (disk->event >= 0)
        close(disk->event);
    mem_free(disk);
}

enum status disk_push(struct disk *disk, enum disk_lane lane, struct disk_job **job)
{
    void *item = *job;
    *job = NULL;
    if (queue_push(disk->lanes[lane].jobs, &item, 0) == OK)
        return OK;
    job_destroy(item);
    return fail(ERR_STALE, "the disk is too slow for all that is asked of it: ask again later");
}

int disk_event(const struct disk *disk)
{
    return disk->event;
}

void disk_finish(struct disk *disk, int most, void *context)
{
    uint64_t one;
    for (int i = 0; i < most && read(disk->event, &one, sizeof(one)) == sizeof(one); i++) {
        void *item = NULL;
        CHECK(queue_pop(disk->done, 0, &item) == OK);
        struct disk_job *job = item;
        job->ops->finish(job, context);
        job->ops->destroy(job);
    }
}
