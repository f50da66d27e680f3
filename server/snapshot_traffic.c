/* snapshot_traffic.c - jobs for the lane of snapshots, and what becomes of their results. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/snapshot_traffic.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "server/connection.h"
#include "server/operator.h"
#include "server/report.h"
#include "server/snapshot_folder.h"

enum {
    /* Twice what a member has under way: it sends again what flew when its connection broke. */
    PARTS_OF_A_MEMBER = 8,
    READS_MAX = 64,           /* answers of up to 1 MiB each; who gets none asks again */
    READ_PATIENCE_MS = 60000, /* twice a worker's (worker/snapshot_fetch.c) */
    WORDS_BYTES = 256,
};

static struct message_header answer_header(const struct server *server,
                                           const struct message *message)
{
    struct coordinator_view view;
    coordinator_view(server->coordinator, &view);
    return (struct message_header){
        .run = view.run,
        .epoch = view.epoch,
        .lineage = view.lineage,
        .generation = message->header.generation,
        .step = message->header.step,
        .worker = message->header.worker,
    };
}

static void answer(struct server *server, uint64_t connection, const struct message *message)
{
    struct peer peer = connection_peer(connection);
    if (endpoint_send(server->control, &peer, message) != OK)
        log_debug("event=send_failed message=%s reason=\"%s\"", message_kind_name(message->kind),
                  fail_message());
}

/* An acknowledgement says "do not send it again". A part that nobody waits for, or of a snapshot
 * that just failed, is acknowledged too: its sender must not wait for ever. */
static void acknowledge(struct server *server, uint64_t connection, const struct message *message)
{
    const struct message_snapshot_part *part = &message->snapshot_part;
    struct message ack = {
        .kind = MESSAGE_SNAPSHOT_ACK,
        .header = answer_header(server, message),
        .snapshot_ack = {.name = part->name, .offset = part->offset},
    };
    ack.header.lineage = message->header.lineage;
    answer(server, connection, &ack);
}

static void snapshot_failed(struct server *server, const char *name, uint64_t step,
                            const char *words)
{
    struct snapshot_traffic *traffic = &server->traffic;
    if (strcmp(traffic->expected, name) == 0)
        traffic->expected[0] = 0;
    report_snapshot(server, name, step, 0, 0, words);
    server_handle(server, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_FAILED,
                                                      .snapshot = {.name = name, .step = step},
                                                      .reason = words});
}

/* ---- expecting and dropping ---- */

struct expect_job {
    struct disk_job job;
    struct parameter_store *store;
    int is_drop;
    char name[JOURNAL_NAME_BYTES];
    uint64_t step;
    enum status status;
    char words[WORDS_BYTES];
};

static void expect_run(struct disk_job *job)
{
    struct expect_job *self = (struct expect_job *)job;
    if (self->is_drop)
        parameter_store_drop(self->store, self->name);
    else
        self->status = parameter_store_expect(self->store, self->name);
    if (self->status != OK)
        snprintf(self->words, sizeof(self->words), "%s", fail_message());
}

static void expect_finish(struct disk_job *job, void *context)
{
    struct expect_job *self = (struct expect_job *)job;
    if (self->status != OK)
        snapshot_failed(context, self->name, self->step, self->words);
}

static void expect_destroy(struct disk_job *job)
{
    mem_free(job);
}

static const struct disk_job_ops expect_ops = {expect_run, expect_finish, expect_destroy};

static enum status push_expect(struct server *server, const char *name, uint64_t step, int is_drop)
{
    struct expect_job *self = mem_zero(sizeof(*self));
    self->job.ops = &expect_ops;
    self->store = server->store;
    self->is_drop = is_drop;
    self->step = step;
    snprintf(self->name, sizeof(self->name), "%s", name);
    struct disk_job *job = &self->job;
    return disk_push(server->disk, DISK_SNAPSHOTS, &job);
}

void snapshot_traffic_expect(struct server *server, const struct action *action)
{
    struct snapshot_traffic *traffic = &server->traffic;
    snprintf(traffic->expected, sizeof(traffic->expected), "%s", action->snapshot.name);
    traffic->step = action->snapshot.step;
    traffic->lineage = action->snapshot.lineage;
    traffic->part_limit = PARTS_OF_A_MEMBER * action->snapshot.shares;
    if (push_expect(server, action->snapshot.name, action->snapshot.step, 0) == OK)
        return;
    struct trouble trouble = {.kind = COORDINATOR_SNAPSHOT_FAILED};
    snprintf(trouble.name, sizeof(trouble.name), "%s", action->snapshot.name);
    snprintf(trouble.reason, sizeof(trouble.reason), "%s", fail_message());
    traffic->expected[0] = 0;
    server_add_trouble(server, &trouble);
}

void snapshot_traffic_drop(struct server *server, const char *name)
{
    struct snapshot_traffic *traffic = &server->traffic;
    if (strcmp(traffic->expected, name) == 0)
        traffic->expected[0] = 0;
    if (push_expect(server, name, 0, 1) != OK)
        log_debug("event=drop_late snapshot=%s reason=\"the next one drops it\"", name);
}

/* ---- retention ---- */

struct retain_job {
    struct disk_job job;
    struct parameter_store *store;
    int64_t keep_last, keep_every, every_steps;
    uint32_t count;
    char (*surplus)[JOURNAL_NAME_BYTES]; /* [count] */
};

static void note_surplus(void *context, const char *name)
{
    struct retain_job *self = context;
    int exists = 0;
    if (parameter_store_claim(self->store, name, &exists) != OK || !exists)
        return;
    self->surplus = mem_resize(self->surplus, (self->count + 1) * sizeof(*self->surplus));
    snprintf(self->surplus[self->count++], sizeof(*self->surplus), "%s", name);
}

static void retain_run(struct disk_job *job)
{
    struct retain_job *self = (struct retain_job *)job;
    snapshot_folder_find_surplus(parameter_store_directory(self->store), self->keep_last,
                                 self->keep_every, self->every_steps, note_surplus, self);
}

static void retain_finish(struct disk_job *job, void *context)
{
    struct retain_job *self = (struct retain_job *)job;
    for (uint32_t i = 0; i < self->count; i++)
        server_handle(context, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_SURPLUS,
                                                           .snapshot = {.name = self->surplus[i]}});
}

static void retain_destroy(struct disk_job *job)
{
    mem_free(((struct retain_job *)job)->surplus);
    mem_free(job);
}

static const struct disk_job_ops retain_ops = {retain_run, retain_finish, retain_destroy};

/* If the lane is full, the next snapshot makes room for both. */
static void push_retain(struct server *server)
{
    const struct config *config = server->config;
    struct retain_job *self = mem_zero(sizeof(*self));
    self->job.ops = &retain_ops;
    self->store = server->store;
    self->keep_last = config->snapshot.keep_last;
    self->keep_every = config->snapshot.keep_every;
    self->every_steps = config->snapshot.every_steps;
    struct disk_job *job = &self->job;
    if (disk_push(server->disk, DISK_SNAPSHOTS, &job) != OK)
        log_warn("event=retention_failed reason=\"%s\"", fail_message());
}

/* ---- removal ---- */

struct remove_job {
    struct disk_job job;
    struct parameter_store *store;
    char name[JOURNAL_NAME_BYTES];
    uint64_t connection, request; /* 0 = nobody asked */
    enum status status;
    char words[WORDS_BYTES];
};

static void remove_run(struct disk_job *job)
{
    struct remove_job *self = (struct remove_job *)job;
    self->status = parameter_store_remove(self->store, self->name);
    if (self->status != OK)
        snprintf(self->words, sizeof(self->words), "%s", fail_message());
}

static void remove_finish(struct disk_job *job, void *context)
{
    struct remove_job *self = (struct remove_job *)job;
    if (self->status != OK)
        log_warn("event=removal_failed snapshot=%s reason=\"%s\"", self->name, self->words);
    if (self->connection != 0)
        operator_answer(context, self->connection, self->request, self->status,
                        self->status == OK ? "{\"was_there\":true}" : self->words);
}

static void remove_destroy(struct disk_job *job)
{
    mem_free(job);
}

static const struct disk_job_ops remove_ops = {remove_run, remove_finish, remove_destroy};

void snapshot_traffic_remove(struct server *server, const struct action *action)
{
    struct remove_job *self = mem_zero(sizeof(*self));
    self->job.ops = &remove_ops;
    self->store = server->store;
    memcpy(self->name, action->removal.name, sizeof(self->name));
    self->connection = action->removal.connection;
    self->request = action->removal.request;
    struct disk_job *job = &self->job;
    if (disk_push(server->disk, DISK_SNAPSHOTS, &job) == OK)
        return;
    log_warn("event=removal_failed snapshot=%s reason=\"%s\"", action->removal.name,
             fail_message());
    if (action->removal.connection != 0)
        operator_answer(server, action->removal.connection, action->removal.request, ERR_STALE,
                        fail_message());
}

struct keep_job {
    struct disk_job job;
    struct parameter_store *store;
    char name[JOURNAL_NAME_BYTES];
};

static void keep_run(struct disk_job *job)
{
    struct keep_job *self = (struct keep_job *)job;
    parameter_store_keep(self->store, self->name);
}

static void keep_finish(struct disk_job *job, void *context)
{
    (void)job;
    (void)context;
}

static const struct disk_job_ops keep_ops = {keep_run, keep_finish, remove_destroy};

void snapshot_traffic_keep(struct server *server, const char *name)
{
    struct keep_job *self = mem_zero(sizeof(*self));
    self->job.ops = &keep_ops;
    self->store = server->store;
    snprintf(self->name, sizeof(self->name), "%s", name);
    struct disk_job *job = &self->job;
    if (disk_push(server->disk, DISK_SNAPSHOTS, &job) != OK)
        log_warn("event=snapshot_unpinnable snapshot=%s reason=\"%s\"", name, fail_message());
}

/* ---- parts in ---- */

struct part_job {
    struct disk_job job;
    struct parameter_store *store;
    uint64_t connection;
    struct message message; /* owned */
    int is_complete;
    enum status status;
    char words[WORDS_BYTES];
};

static void part_run(struct disk_job *job)
{
    struct part_job *self = (struct part_job *)job;
    self->status =
        parameter_store_write(self->store, &self->message.snapshot_part, &self->is_complete);
    if (self->status != OK)
        snprintf(self->words, sizeof(self->words), "%s", fail_message());
}

static void complete(struct server *server, const struct message *message)
{
    const struct message_snapshot_part *part = &message->snapshot_part;
    if (strcmp(server->traffic.expected, part->name) == 0)
        server->traffic.expected[0] = 0;
    server_handle(server, &(struct coordinator_event){
                              .kind = COORDINATOR_SNAPSHOT_DONE,
                              .snapshot = {.name = part->name, .step = message->header.step}});
    report_snapshot(server, part->name, message->header.step, part->total, 1, "");
    push_retain(server);
}

static void part_finish(struct disk_job *job, void *context)
{
    struct part_job *self = (struct part_job *)job;
    struct server *server = context;
    const struct message *message = &self->message;
    server->traffic.part_count--;
    if (self->is_complete)
        complete(server, message);
    else if (self->status != OK && self->status != ERR_STALE)
        snapshot_failed(server, message->snapshot_part.name, message->header.step, self->words);
    acknowledge(server, self->connection, message);
}

static void part_destroy(struct disk_job *job)
{
    message_done(&((struct part_job *)job)->message);
    mem_free(job);
}

static const struct disk_job_ops part_ops = {part_run, part_finish, part_destroy};

static enum status push_part(struct server *server, uint64_t connection, struct message *message)
{
    struct snapshot_traffic *traffic = &server->traffic;
    if (traffic->part_count >= traffic->part_limit)
        return fail(ERR_PROTOCOL, "snapshot '%s': %u parts were sent before any was acknowledged",
                    message->snapshot_part.name, traffic->part_count);
    struct part_job *self = mem_zero(sizeof(*self));
    self->job.ops = &part_ops;
    self->store = server->store;
    self->connection = connection;
    self->message = *message;
    *message = (struct message){0};
    struct disk_job *job = &self->job;
    TRY(disk_push(server->disk, DISK_SNAPSHOTS, &job));
    traffic->part_count++;
    return OK;
}

/* One that failed may have been begun again under its name, at another step, while members still
 * push the first. */
static int is_expected(const struct snapshot_traffic *traffic, const struct message *message)
{
    return traffic->expected[0] != 0 && message->header.step == traffic->step &&
           message->header.lineage == traffic->lineage &&
           strcmp(message->snapshot_part.name, traffic->expected) == 0;
}

void snapshot_traffic_part(struct server *server, uint64_t connection, struct message *message)
{
    const struct snapshot_traffic *traffic = &server->traffic;
    char name[JOURNAL_NAME_BYTES], words[WORDS_BYTES];
    uint64_t step = message->header.step;
    if (!is_expected(traffic, message)) {
        acknowledge(server, connection, message);
        return;
    }
    snprintf(name, sizeof(name), "%s", message->snapshot_part.name);
    if (push_part(server, connection, message) == OK)
        return;
    snprintf(words, sizeof(words), "%s", fail_message());
    snapshot_traffic_drop(server, name);
    snapshot_failed(server, name, step, words);
}

/* ---- bytes out ---- */

struct read_job {
    struct disk_job job;
    struct parameter_store *store;
    uint64_t connection;
    struct message question; /* owned */
    struct message_snapshot_part part;
    enum status status;
    char words[WORDS_BYTES];
};

static void read_run(struct disk_job *job)
{
    struct read_job *self = (struct read_job *)job;
    self->status = parameter_store_read(self->store, &self->question.snapshot_read, &self->part);
    if (self->status != OK)
        snprintf(self->words, sizeof(self->words), "%s", fail_message());
}

/* What the failure of a read says of the file. A moment's trouble says nothing, and the asker gets
 * no answer: it asks again. But a file that the disk cannot read for so long is as good as gone. */
static int is_lost(struct snapshot_traffic *traffic, const struct read_job *job)
{
    const char *name = job->question.snapshot_read.name;
    if (job->status == ERR_INPUT || job->status == ERR_CORRUPT)
        return 1;
    int is_new = strcmp(traffic->troubled, name) != 0;
    if (is_new || traffic->trouble != job->status) {
        snprintf(traffic->troubled, sizeof(traffic->troubled), "%s", name);
        traffic->trouble = job->status;
        traffic->trouble_ms = clock_ms();
        log_warn("event=snapshot_read_failed snapshot=%s reason=\"%s\" action=\"asked again\"",
                 name, job->words);
    }
    return job->status == ERR_IO && clock_ms() - traffic->trouble_ms > READ_PATIENCE_MS;
}

static void read_finish(struct disk_job *job, void *context)
{
    struct read_job *self = (struct read_job *)job;
    struct server *server = context;
    char *name = self->question.snapshot_read.name;
    struct message data = {.kind = MESSAGE_SNAPSHOT_DATA,
                           .header = answer_header(server, &self->question),
                           .snapshot_part = self->part};
    server->traffic.read_count--;
    if (self->status != OK && !is_lost(&server->traffic, self))
        return;
    server->traffic.troubled[0] = 0;
    if (self->status != OK) {
        log_debug("event=snapshot_unreadable snapshot=%.64s reason=\"%s\"", name, self->words);
        data.snapshot_part.name = name;
        server_handle(server, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_GONE,
                                                          .snapshot = {.name = name},
                                                          .reason = self->words});
    }
    answer(server, self->connection, &data);
}

static void read_destroy(struct disk_job *job)
{
    struct read_job *self = (struct read_job *)job;
    message_done(&self->question);
    mem_free(self->part.name);
    mem_free(self->part.data);
    mem_free(self);
}

static const struct disk_job_ops read_ops = {read_run, read_finish, read_destroy};

void snapshot_traffic_read(struct server *server, uint64_t connection, struct message *message)
{
    if (server->traffic.read_count >= READS_MAX)
        return;
    struct read_job *self = mem_zero(sizeof(*self));
    self->job.ops = &read_ops;
    self->store = server->store;
    self->connection = connection;
    self->question = *message;
    *message = (struct message){0};
    struct disk_job *job = &self->job;
    if (disk_push(server->disk, DISK_SNAPSHOTS, &job) == OK)
        server->traffic.read_count++;
}
