/* shard_watch.c - looks for new shards in the background, and removes the files of expired ones. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/shard_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/fs.h"
#include "common/mem.h"
#include "server/report.h"
#include "server/server.h"

enum {
    TOLD_AT_ONCE = 32, /* some 10 ms of journal */
    UNLINKED_AT_ONCE = 32,
};

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

static struct shard_found found_of(const struct store_shard *shard)
{
    return (struct shard_found){
        .path = mem_string(shard->path),
        .records = shard->record_count,
        .content_hash = shard->content_hash,
        .fact = {shard->created_ms, shard->file_bytes, shard->is_living},
    };
}

static void note_found(void *context, const struct store_shard *shard)
{
    struct look_job *self = context;
    self->found = mem_resize(self->found, (self->count + 1) * sizeof(*self->found));
    self->found[self->count++] = found_of(shard);
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

void shard_found_done(struct shard_found *found)
{
    mem_free(found->path);
    *found = (struct shard_found){0};
}

enum status shard_watch_read(const char *path, struct shard_found *ret_found)
{
    struct store_shard shard;
    char *absolute = realpath(path, NULL);
    if (absolute == NULL)
        return fail(ERR_INPUT, "no shard '%.400s' on the server's host: %s", path, strerror(errno));
    enum status status = store_manifest_load(absolute, &shard);
    free(absolute);
    TRY(status);
    *ret_found = found_of(&shard);
    store_shard_done(&shard);
    return OK;
}

struct unlink_job {
    struct disk_job job;
    uint32_t shard;
    char *path;
    int was_there;
    char reason[256]; /* why it could not be; "" = it is gone */
};

static enum status unlink_shard(struct unlink_job *self)
{
    const char *slash = strrchr(self->path, '/');
    char *hidden = mem_format("%.*s/.%s.expired", (int)(slash - self->path), self->path, slash + 1);
    enum status status = OK;
    self->was_there = fs_exists(self->path);
    if (self->was_there)
        status = fs_rename(self->path, hidden);
    if (status == OK)
        status = fs_remove_tree(hidden); /* also what a server that was killed has left */
    mem_free(hidden);
    return status;
}

static void unlink_run(struct disk_job *job)
{
    struct unlink_job *self = (struct unlink_job *)job;
    if (unlink_shard(self) != OK)
        snprintf(self->reason, sizeof(self->reason), "%s", fail_message());
}

static void unlink_finish(struct disk_job *job, void *context)
{
    struct unlink_job *self = (struct unlink_job *)job;
    struct server *server = context;
    if (self->reason[0] == 0 && !self->was_there)
        return;
    int is_failed = self->reason[0] != 0;
    char *text = mem_format("shard=%u path=%s%s%s%s", self->shard, self->path,
                            is_failed ? " reason=\"" : "", self->reason, is_failed ? "\"" : "");
    report_event(server, is_failed ? "shard_not_unlinked" : "shard_unlinked", is_failed, text);
    mem_free(text);
}

static void unlink_destroy(struct disk_job *job)
{
    struct unlink_job *self = (struct unlink_job *)job;
    mem_free(self->path);
    mem_free(self);
}

static const struct disk_job_ops unlink_ops = {unlink_run, unlink_finish, unlink_destroy};

static int is_begun(const struct shard_watch *watch, uint32_t id)
{
    return id < watch->unlinked_count && watch->is_unlinked[id];
}

static void note_begun(struct shard_watch *watch, uint32_t id)
{
    if (id >= watch->unlinked_count) {
        uint32_t count = id + 1 + watch->unlinked_count;
        watch->is_unlinked = mem_resize(watch->is_unlinked, count);
        memset(watch->is_unlinked + watch->unlinked_count, 0, count - watch->unlinked_count);
        watch->unlinked_count = count;
    }
    watch->is_unlinked[id] = 1;
}

static int begin_unlink(struct server *server, uint32_t id, const char *path)
{
    struct unlink_job *self = mem_zero(sizeof(*self));
    self->job.ops = &unlink_ops;
    self->shard = id;
    self->path = mem_string(path);
    struct disk_job *job = &self->job;
    return disk_push(server->disk, DISK_STORES, &job) == OK;
}

static void unlink_surplus(struct server *server, uint32_t shard_count)
{
    struct coordinator_shard shard;
    int begun = 0;
    for (uint32_t id = 0; id < shard_count && begun < UNLINKED_AT_ONCE; id++) {
        if (is_begun(&server->shard_watch, id) ||
            !coordinator_shard(server->coordinator, id, &shard) || !shard.is_surplus)
            continue;
        if (!begin_unlink(server, id, shard.path))
            return; /* the lane is full: the next time */
        note_begun(&server->shard_watch, id);
        begun++;
    }
}

void shard_watch_expire(struct server *server)
{
    struct coordinator_view view;
    server_handle(
        server, &(struct coordinator_event){.kind = COORDINATOR_TIME, .wall_ms = clock_wall_ms()});
    coordinator_view(server->coordinator, &view);
    if (view.policy->is_unlinking)
        unlink_surplus(server, view.shards_known);
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
        if (found->fact.created_ms > watch->newest_ms)
            watch->newest_ms = found->fact.created_ms;
        server_handle(server,
                      &(struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND,
                                                  .shard = {.path = found->path,
                                                            .records = found->records,
                                                            .content_hash = found->content_hash,
                                                            .fact = found->fact}});
    }
    if (watch->next < watch->count)
        return 1;
    shard_watch_done(watch);
    return 0;
}
