/* operator.c - what operators may ask and order: one table. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/operator.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "common/log.h"
#include "common/mem.h"
#include "server/connection.h"
#include "server/report.h"
#include "server/snapshot_list.h"

enum { WORDS_BYTES = 1024, REASON_BYTES = 200 };

/* Words of an operator go into lines of key="value": no quotes, no line ends. */
static void tame(char *words)
{
    for (char *at = words; *at != 0; at++)
        if ((unsigned char)*at < ' ' || *at == '"')
            *at = *at == '"' ? '\'' : ' ';
}

static void copy_words(const json_t *arguments, const char *key, char copy[REASON_BYTES])
{
    const char *words = json_string_value(json_object_get(arguments, key));
    snprintf(copy, REASON_BYTES, "%s", words != NULL ? words : "");
    tame(copy);
}

static void copy_reason(const json_t *arguments, char reason[REASON_BYTES])
{
    copy_words(arguments, "reason", reason);
}

/* Questions answered here. *ret_body is the caller's. */

static enum status ask_status(struct server *server, const json_t *arguments, json_t **ret_body)
{
    (void)arguments;
    *ret_body = report_status(server);
    return OK;
}

static enum status ask_stream(struct server *server, const json_t *arguments, json_t **ret_body)
{
    json_int_t from = json_integer_value(json_object_get(arguments, "from"));
    if (from < 0 || from > STREAM_SHARDS_MAX)
        return fail(ERR_INPUT, "no shard can have the number %lld", (long long)from);
    *ret_body = report_stream(server, (uint32_t)from);
    return OK;
}

static const char *name_of(const json_t *arguments)
{
    const char *name = json_string_value(json_object_get(arguments, "name"));
    return name != NULL ? name : "";
}

/* Work for the disk's lane of snapshots; *ret_body as above. */

static enum status list_snapshots(struct parameter_store *store, const json_t *arguments,
                                  json_t **ret_body)
{
    (void)arguments;
    return snapshot_list_json(parameter_store_directory(store), ret_body);
}

static enum status pin_snapshot(struct parameter_store *store, const json_t *arguments,
                                json_t **ret_body)
{
    int is_pinned = !json_is_false(json_object_get(arguments, "is_pinned"));
    TRY(parameter_store_pin(store, name_of(arguments), is_pinned));
    *ret_body = json_object();
    return OK;
}

/* With something to remove the coordinator goes on: what may be restored from is its to say. */
static enum status check_removal(struct parameter_store *store, const json_t *arguments,
                                 json_t **ret_body)
{
    int exists = 0;
    TRY(parameter_store_claim(store, name_of(arguments), &exists));
    if (!exists)
        *ret_body = json_pack("{s:b}", "was_there", 0);
    return OK;
}

/* Which names are taken, the folder knows better than the coordinator. */
static enum status check_new_snapshot(struct parameter_store *store, const json_t *arguments,
                                      json_t **ret_body)
{
    (void)ret_body;
    return name_of(arguments)[0] == 0 ? OK : parameter_store_check_new(store, name_of(arguments));
}

static json_t *json_of_policy(const struct server *server)
{
    struct coordinator_view view;
    coordinator_view(server->coordinator, &view);
    return json_pack("{s:i, s:I, s:I, s:s, s:b}", "schema_version", 1, "max_age_days",
                     (json_int_t)view.policy->max_age_days, "max_bytes",
                     (json_int_t)view.policy->max_bytes, "exhausted",
                     view.policy->is_repeating ? "repeat" : "wait", "unlink",
                     view.policy->is_unlinking != 0);
}

/* What of it is named is changed. */
static enum status read_policy(const json_t *arguments, struct stream_policy *policy)
{
    const json_t *age = json_object_get(arguments, "max_age_days");
    const json_t *bytes = json_object_get(arguments, "max_bytes");
    const char *exhausted = json_string_value(json_object_get(arguments, "exhausted"));
    const json_t *unlink = json_object_get(arguments, "unlink");
    if (age != NULL)
        policy->max_age_days = json_integer_value(age);
    if (bytes != NULL)
        policy->max_bytes = (uint64_t)json_integer_value(bytes);
    if (unlink != NULL)
        policy->is_unlinking = json_is_true(unlink);
    if (exhausted != NULL)
        policy->is_repeating = strcmp(exhausted, "repeat") == 0;
    if (policy->max_age_days < 0 || policy->max_age_days > 36500)
        return fail(ERR_INPUT, "an age is 0 to 36500 days");
    if (policy->max_bytes > INT64_MAX)
        return fail(ERR_INPUT, "bytes are 0 or more");
    if (exhausted != NULL && !policy->is_repeating && strcmp(exhausted, "wait") != 0)
        return fail(ERR_INPUT, "an exhausted stream can 'repeat' or 'wait', not '%.40s'",
                    exhausted);
    return OK;
}

static enum status ask_policy(struct server *server, const json_t *arguments, json_t **ret_body)
{
    struct coordinator_view view;
    char reason[REASON_BYTES];
    coordinator_view(server->coordinator, &view);
    struct stream_policy policy = *view.policy;
    TRY(read_policy(arguments, &policy));
    copy_reason(arguments, reason);
    server_handle(server, &(struct coordinator_event){
                              .kind = COORDINATOR_COMMAND,
                              .command = {.command = COMMAND_POLICY, .policy = &policy},
                              .reason = reason,
                          });
    TRY(server->status);
    *ret_body = json_of_policy(server);
    return OK;
}

static enum status read_shard(struct parameter_store *store, const json_t *arguments,
                              json_t **ret_body)
{
    struct shard_found found;
    (void)store;
    TRY(shard_watch_read(name_of(arguments), &found));
    *ret_body = json_pack("{s:s, s:I, s:I, s:I, s:I, s:b}", "path", found.path, "records",
                          (json_int_t)found.records, "content_hash", (json_int_t)found.content_hash,
                          "created_ms", (json_int_t)found.fact.created_ms, "bytes",
                          (json_int_t)found.fact.bytes, "living", found.fact.is_living);
    shard_found_done(&found);
    return *ret_body != NULL ? OK : fail(ERR_INPUT, "the shard's path is not UTF-8");
}

/* Replaces what read_shard found by the number that the shard has from now on. */
static enum status take_shard(struct server *server, json_t **body)
{
    const char *path = json_string_value(json_object_get(*body, "path"));
    struct coordinator_shard shard;
    uint32_t id = 0;
    server_handle(
        server,
        &(struct coordinator_event){
            .kind = COORDINATOR_SHARD_FOUND,
            .shard = {.path = path,
                      .records = (uint64_t)json_integer_value(json_object_get(*body, "records")),
                      .content_hash =
                          (uint64_t)json_integer_value(json_object_get(*body, "content_hash")),
                      .fact = {json_integer_value(json_object_get(*body, "created_ms")),
                               (uint64_t)json_integer_value(json_object_get(*body, "bytes")),
                               json_is_true(json_object_get(*body, "living"))}}});
    TRY(server->status);
    while (coordinator_shard(server->coordinator, id, &shard) && strcmp(shard.path, path) != 0)
        id++;
    if (!coordinator_shard(server->coordinator, id, &shard))
        return fail(ERR_INPUT, "the shard was refused; the event shard_refused says why");
    if (shard.is_retired)
        return fail(ERR_INPUT,
                    "shard %u was retired, which is for good: to train on its images again, ingest "
                    "them anew",
                    id);
    json_decref(*body);
    *body = json_pack("{s:i, s:I, s:I}", "schema_version", 1, "shard", (json_int_t)id, "records",
                      (json_int_t)shard.records);
    return OK;
}

/* Who answers: this end at once (ask), the disk (work), or the coordinator (order); with work and
 * order the disk is asked first, and the coordinator if the disk made no answer; with work and
 * take this end makes the disk's answer its own. */
static const struct row {
    const char *name;
    enum status (*ask)(struct server *server, const json_t *arguments, json_t **ret_body);
    enum status (*work)(struct parameter_store *store, const json_t *arguments, json_t **ret_body);
    enum status (*take)(struct server *server, json_t **body);
    int is_order;
    enum coordinator_command order;
    int is_change; /* work that changes something: it stands in the event log as orders do */
    int is_open;   /* to whoever is let in; all else is for operators */
} rows[] = {
    {.name = "status", .ask = ask_status, .is_open = 1},
    {.name = "stream_list", .ask = ask_stream, .is_open = 1},
    {.name = "snapshot_list", .work = list_snapshots, .is_open = 1},
    {.name = "snapshot_pin", .work = pin_snapshot, .is_change = 1},
    {.name = "snapshot_remove", .work = check_removal, .is_order = 1, .order = COMMAND_REMOVE},
    {.name = "snapshot_save", .work = check_new_snapshot, .is_order = 1, .order = COMMAND_SNAPSHOT},
    {.name = "pause", .is_order = 1, .order = COMMAND_PAUSE},
    {.name = "resume", .is_order = 1, .order = COMMAND_RESUME},
    {.name = "stop", .is_order = 1, .order = COMMAND_STOP},
    {.name = "worker_drain", .is_order = 1, .order = COMMAND_DRAIN},
    {.name = "worker_evict", .is_order = 1, .order = COMMAND_EVICT},
    {.name = "stream_add", .work = read_shard, .take = take_shard, .is_change = 1},
    {.name = "stream_policy", .ask = ask_policy},
    {.name = "stream_retire", .is_order = 1, .order = COMMAND_RETIRE},
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static const struct row *row_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

/* Who asked what. */
struct question {
    const struct row *row; /* NULL: nobody knows this command */
    uint64_t connection, request;
    json_t *arguments; /* owned */
};

void operator_answer(struct server *server, uint64_t connection, uint64_t request,
                     enum status status, const char *text)
{
    struct message answer = {
        .kind = MESSAGE_REPLY,
        .header = {.run = server->run},
        .reply = {request, (uint32_t)status, (char *)(uintptr_t)text},
    };
    struct peer peer = connection_peer(connection);
    if (endpoint_send(server->control, &peer, &answer) != OK)
        log_debug("event=send_failed message=reply reason=\"%s\"", fail_message());
}

static void reply(struct server *server, const struct question *question, enum status status,
                  const char *words, const json_t *body)
{
    char *text = status == OK ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    operator_answer(server, question->connection, question->request, status,
                    text != NULL ? text : words);
    free(text);
}

static void log_change(struct server *server, const struct question *question)
{
    int is_unpin = json_is_false(json_object_get(question->arguments, "is_pinned"));
    char reason[REASON_BYTES];
    copy_reason(question->arguments, reason);
    char *argument = mem_string(name_of(question->arguments));
    tame(argument);
    char origin[REASON_BYTES];
    copy_words(question->arguments, "origin", origin);
    char *text = mem_format("command=%s argument=%s%s reason=\"%s\"%s%s%s", question->row->name,
                            argument, is_unpin ? " is_pinned=0" : "", reason,
                            origin[0] != 0 ? " origin=\"" : "", origin, origin[0] != 0 ? "\"" : "");
    report_event(server, "operator_command", 0, text);
    mem_free(text);
    mem_free(argument);
}

/* The coordinator answers. */
static void give_order(struct server *server, const struct question *question)
{
    char reason[REASON_BYTES];
    copy_reason(question->arguments, reason);
    log_change(server, question);
    server_handle(server, &(struct coordinator_event){
                              .kind = COORDINATOR_COMMAND,
                              .connection = question->connection,
                              .command = {.command = question->row->order,
                                          .request = question->request,
                                          .argument = name_of(question->arguments)},
                              .reason = reason,
                          });
}

struct question_job {
    struct disk_job job;
    struct parameter_store *store;
    struct question question;
    json_t *body; /* owned */
    enum status status;
    char words[WORDS_BYTES];
};

static void question_run(struct disk_job *job)
{
    struct question_job *self = (struct question_job *)job;
    self->status = self->question.row->work(self->store, self->question.arguments, &self->body);
    if (self->status != OK)
        snprintf(self->words, sizeof(self->words), "%s", fail_message());
}

static void question_finish(struct disk_job *job, void *context)
{
    struct question_job *self = (struct question_job *)job;
    struct server *server = context;
    if (self->status == OK && self->question.row->is_order && self->body == NULL) {
        give_order(server, &self->question);
        return;
    }
    if (self->status == OK && self->question.row->is_change)
        log_change(server, &self->question);
    if (self->status == OK && self->question.row->take != NULL) {
        self->status = self->question.row->take(server, &self->body);
        snprintf(self->words, sizeof(self->words), "%s", fail_message());
    }
    reply(server, &self->question, self->status, self->words, self->body);
}

static void question_destroy(struct disk_job *job)
{
    struct question_job *self = (struct question_job *)job;
    json_decref(self->question.arguments);
    json_decref(self->body);
    mem_free(self);
}

static const struct disk_job_ops question_ops = {question_run, question_finish, question_destroy};

static enum status give_work(struct server *server, const struct question *question)
{
    struct question_job *self = mem_zero(sizeof(*self));
    self->job.ops = &question_ops;
    self->store = server->store;
    self->question = *question;
    json_incref(self->question.arguments);
    struct disk_job *job = &self->job;
    return disk_push(server->disk, question->row->take != NULL ? DISK_STORES : DISK_SNAPSHOTS,
                     &job);
}

static enum status check_question(const struct server *server, const struct question *question,
                                  const char *name)
{
    if (question->row == NULL)
        return fail(ERR_INPUT, "this server knows no command '%.64s': is it of another version?",
                    name);
    if (!question->row->is_open && server->asker.role != KEY_OPERATOR)
        return fail(ERR_INPUT, "key '%s' is a %s's, and '%.64s' is for operators",
                    server->asker.name, key_role_name(server->asker.role), name);
    if (!json_is_object(question->arguments))
        return fail(ERR_INPUT, "command '%s': the arguments are no JSON object", name);
    return OK;
}

void operator_command(struct server *server, uint64_t connection, struct message *message)
{
    const char *words = message->command.arguments;
    struct question question = {
        .row = row_find(message->command.name),
        .connection = connection,
        .request = message->command.request,
        .arguments = words[0] == 0 ? json_object() : json_loads(words, 0, NULL),
    };
    json_t *body = NULL;
    enum status status = check_question(server, &question, message->command.name);
    if (status == OK && question.row->work != NULL)
        status = give_work(server, &question);
    else if (status == OK && question.row->is_order)
        give_order(server, &question);
    else if (status == OK)
        status = question.row->ask(server, question.arguments, &body);
    if (body != NULL || status != OK)
        reply(server, &question, status, fail_message(), body);
    json_decref(body);
    json_decref(question.arguments);
}
