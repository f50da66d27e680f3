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

/* Questions answered here. *ret_body is the caller's. */

static enum status ask_status(struct server *server, const json_t *arguments, json_t **ret_body)
{
    (void)arguments;
    *ret_body = report_status(server);
    return OK;
}

static enum status ask_snapshots(struct server *server, const json_t *arguments, json_t **ret_body)
{
    (void)arguments;
    return snapshot_list_json(server->store, ret_body);
}

static const char *name_of(const json_t *arguments)
{
    const char *name = json_string_value(json_object_get(arguments, "name"));
    return name != NULL ? name : "";
}

static enum status pin(struct server *server, const json_t *arguments, json_t **ret_body)
{
    int is_pinned = !json_is_false(json_object_get(arguments, "is_pinned"));
    TRY(parameter_store_pin(server->store, name_of(arguments), is_pinned));
    *ret_body = json_object();
    return OK;
}

static enum status remove_snapshot(struct server *server, const json_t *arguments,
                                   json_t **ret_body)
{
    struct trouble trouble = {.kind = COORDINATOR_SNAPSHOT_GONE};
    TRY(parameter_store_remove(server->store, name_of(arguments)));
    snprintf(trouble.name, sizeof(trouble.name), "%s", name_of(arguments));
    server_add_trouble(server, &trouble);
    *ret_body = json_object();
    return OK;
}

/* Either this end answers (ask) or the coordinator does (order). */
static const struct row {
    const char *name;
    enum status (*ask)(struct server *server, const json_t *arguments, json_t **ret_body);
    enum coordinator_command order;
} rows[] = {
    {"status", ask_status, 0},
    {"snapshot_list", ask_snapshots, 0},
    {"snapshot_pin", pin, 0},
    {"snapshot_remove", remove_snapshot, 0},
    {"snapshot_save", NULL, COMMAND_SNAPSHOT},
    {"pause", NULL, COMMAND_PAUSE},
    {"resume", NULL, COMMAND_RESUME},
    {"stop", NULL, COMMAND_STOP},
    {"worker_drain", NULL, COMMAND_DRAIN},
    {"worker_evict", NULL, COMMAND_EVICT},
    {"stream_retire", NULL, COMMAND_RETIRE},
};

enum { ROW_COUNT = sizeof(rows) / sizeof(rows[0]) };

static const struct row *row_find(const char *name)
{
    for (int i = 0; i < ROW_COUNT; i++)
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    return NULL;
}

static void reply(struct server *server, uint64_t connection, const struct message *message,
                  enum status status, json_t *body)
{
    char *text = status == OK ? json_dumps(body, JSON_COMPACT | JSON_REAL_PRECISION(17)) : NULL;
    char words[1024];
    snprintf(words, sizeof(words), "%s", fail_message());
    struct message answer = {
        .kind = MESSAGE_REPLY,
        .header = {.run = server->run},
        .reply = {.request = message->command.request,
                  .status = (uint32_t)status,
                  .body = text != NULL ? text : words},
    };
    struct peer peer = connection_peer(connection);
    if (endpoint_send(server->control, &peer, &answer) != OK)
        log_debug("event=send_failed message=reply reason=\"%s\"", fail_message());
    free(text);
}

/* Which names are taken, the folder knows better than the coordinator. */
static enum status give_order(struct server *server, uint64_t connection,
                              const struct message *message, const struct row *row,
                              const json_t *arguments)
{
    if (row->order == COMMAND_SNAPSHOT && name_of(arguments)[0] != 0)
        TRY(parameter_store_check_new(server->store, name_of(arguments)));
    char *text = mem_format("command=%s argument=%s", row->name, name_of(arguments));
    report_event(server, "operator_command", 0, text);
    mem_free(text);
    struct coordinator_event event = {
        .kind = COORDINATOR_COMMAND,
        .connection = connection,
        .command = {.command = row->order,
                    .request = message->command.request,
                    .argument = name_of(arguments)},
    };
    server_handle(server, &event);
    return OK;
}

void operator_command(struct server *server, uint64_t connection, const struct message *message)
{
    const char *words = message->command.arguments;
    const struct row *row = row_find(message->command.name);
    json_t *arguments = words[0] == 0 ? json_object() : json_loads(words, 0, NULL);
    json_t *body = NULL;
    enum status status = OK;
    if (row == NULL)
        status = fail(ERR_INPUT, "this server knows no command '%.64s': is it of another version?",
                      message->command.name);
    else if (!json_is_object(arguments))
        status = fail(ERR_INPUT, "command '%s': the arguments are no JSON object", row->name);
    else if (row->ask == NULL)
        status = give_order(server, connection, message, row, arguments);
    else
        status = row->ask(server, arguments, &body);
    if (body != NULL || status != OK)
        reply(server, connection, message, status, body);
    json_decref(body);
    json_decref(arguments);
}
