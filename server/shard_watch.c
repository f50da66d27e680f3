/* shard_watch.c - looks for new shards in the background. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/shard_watch.h"

#include "common/mem.h"
#include "server/server.h"

enum { TOLD_AT_ONCE = 32 /* some 10 ms of journal */ };

struct look_job {
    struct disk_job job;
    struct store_scan *scan;
    uint32_t count;
    struct shard_found *found; /* [count] */
};

static void found_free(struct shard_found *found, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        mem_free(found[i].path);
    mem_free(found);
}

static void note_found(void *context, const char *path, uint64_t records)
{
    struct look_job *self = context;
    self->found = mem_resize(self->found, (self->count + 1) * sizeof(*self->found));
    self->found[self->count++] = (struct shard_found){mem_string(path), records};
}

static void look_run(struct disk_job *job)
{
    struct look_job *self = (struct look_job *)job;
    store_scan_run(self->scan, note_found, self);
}

static void look_finish(struct disk_job *job, void *context)
{
    struct look_job *self = (struct look_job *)job;
    struct server *server = context;
    struct shard_watch *watch = &server->shard_watch;
    watch->is_looking = 0;
    watch->found = self->found;
    watch->count = self->count;
    watch->next = 0;
    self->found = NULL;
    self->count = 0;
}

static void look_destroy(struct disk_job *job)
{
    struct look_job *self = (struct look_job *)job;
    found_free(self->found, self->count);
    mem_free(self);
}

static const struct disk_job_ops look_ops = {look_run, look_finish, look_destroy};

void shard_watch_done(struct shard_watch *watch)
{
    found_free(watch->found, watch->count);
    watch->found = NULL;
    watch->count = watch->next = 0;
}

void shard_watch_look(struct server *server)
{
    struct shard_watch *watch = &server->shard_watch;
    if (watch->is_looking || watch->count > 0)
        return;
    struct look_job *self = mem_zero(sizeof(*self));
    self->job.ops = &look_ops;
    self->scan = server->scan;
    struct disk_job *job = &self->job;
    watch->is_looking = disk_push(server->disk, DISK_STORES, &job) == OK;
}

int shard_watch_tell(struct server *server)
{
    struct shard_watch *watch = &server->shard_watch;
    for (int i = 0; i < TOLD_AT_ONCE && watch->next < watch->count; i++) {
        const struct shard_found *found = &watch->found[watch->next++];
        server_handle(server, &(struct coordinator_event){
                                  .kind = COORDINATOR_SHARD_FOUND,
                                  .shard = {.path = found->path, .records = found->records}});
    }
    if (watch->next < watch->count)
        return 1;
    shard_watch_done(watch);
    return 0;
}
