/* dispatch.c - who may say what to the server, and who answers: one table. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/dispatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/mem.h"
#include "server/connection.h"
#include "server/operator.h"
#include "server/report.h"

/* So many, then the loop looks at signals, processes and time again. */
enum { BUNCH = 64 };

static void handle_member(struct server *server, uint64_t connection, const struct message *message)
{
    server_handle(server, &(struct coordinator_event){.kind = COORDINATOR_MESSAGE,
                                                      .connection = connection,
                                                      .message = message});
}

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

static void snapshot_failed(struct server *server, const char *name, uint64_t step,
                            const char *words)
{
    struct trouble trouble = {.kind = COORDINATOR_SNAPSHOT_FAILED};
    snprintf(trouble.name, sizeof(trouble.name), "%s", name);
    snprintf(trouble.reason, sizeof(trouble.reason), "%s", words);
    report_snapshot(server, name, step, 0, 0, trouble.reason);
    server_add_trouble(server, &trouble);
}

static void snapshot_removed(void *context, const char *name)
{
    struct server *server = context;
    struct trouble trouble = {.kind = COORDINATOR_SNAPSHOT_GONE};
    snprintf(trouble.name, sizeof(trouble.name), "%s", name);
    server_add_trouble(server, &trouble);
}

static void snapshot_complete(struct server *server, const struct message *message)
{
    const struct message_snapshot_part *part = &message->snapshot_part;
    const struct config *config = server->config;
    server_handle(server, &(struct coordinator_event){
                              .kind = COORDINATOR_SNAPSHOT_DONE,
                              .snapshot = {.name = part->name, .step = message->header.step}});
    report_snapshot(server, part->name, message->header.step, part->total, 1, "");
    parameter_store_retain(server->store, config->snapshot.keep_last, config->snapshot.keep_every,
                           config->snapshot.every_steps, snapshot_removed, server);
}

/* An acknowledgement says "do not send it again". A part that nobody waits for, or of a snapshot
 * that just failed, is acknowledged too: its sender must not wait for ever. */
static void handle_part(struct server *server, uint64_t connection, const struct message *message)
{
    const struct message_snapshot_part *part = &message->snapshot_part;
    int is_complete = 0;
    enum status status = parameter_store_write(server->store, part, &is_complete);
    if (status != OK && status != ERR_STALE)
        snapshot_failed(server, part->name, message->header.step, fail_message());
    struct message ack = {
        .kind = MESSAGE_SNAPSHOT_ACK,
        .header = answer_header(server, message),
        .snapshot_ack = {.name = part->name, .offset = part->offset},
    };
    if (is_complete)
        snapshot_complete(server, message);
    answer(server, connection, &ack);
}

/* A snapshot that cannot be read is answered by a part of nothing: total 0. */
static void handle_read(struct server *server, uint64_t connection, const struct message *message)
{
    struct message data = {.kind = MESSAGE_SNAPSHOT_DATA, .header = answer_header(server, message)};
    if (parameter_store_read(server->store, &message->snapshot_read, &data.snapshot_part) != OK) {
        log_warn("event=snapshot_unreadable snapshot=%.64s reason=\"%s\"",
                 message->snapshot_read.name, fail_message());
        data.snapshot_part.name = mem_string(message->snapshot_read.name);
        if (snapshot_name_check(message->snapshot_read.name) == OK)
            snapshot_removed(server, message->snapshot_read.name);
    }
    answer(server, connection, &data);
    message_done(&data);
}

static const struct {
    enum message_kind kind;
    void (*handle)(struct server *server, uint64_t connection, const struct message *message);
} rows[] = {
    /* from workers; the coordinator judges state, generation and step */
    {MESSAGE_HELLO, handle_member},
    {MESSAGE_HEARTBEAT, handle_member},
    {MESSAGE_FORMED, handle_member},
    {MESSAGE_READY, handle_member},
    {MESSAGE_BROKEN, handle_member},
    {MESSAGE_LEAVE, handle_member},
    {MESSAGE_BYE, handle_member},
    /* from workers; only for the snapshot that is expected */
    {MESSAGE_SNAPSHOT_PART, handle_part},
    /* from anybody at any time */
    {MESSAGE_SNAPSHOT_READ, handle_read},
    {MESSAGE_COMMAND, operator_command},
};

static void dispatch(struct server *server, uint64_t connection, const struct message *message)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].kind != message->kind)
            continue;
        rows[i].handle(server, connection, message);
        return;
    }
    log_debug("event=message_refused message=%s reason=\"only a server says that\"",
              message_kind_name(message->kind));
}

void dispatch_messages(struct server *server)
{
    for (int i = 0; i < BUNCH && server->status == OK; i++) {
        struct peer peer = {0};
        struct message message;
        uint64_t connection;
        enum status status = endpoint_receive(server->control, 0, &peer, &message);
        if (status == ERR_END)
            return;
        if (status != OK) {
            log_debug("event=message_refused reason=\"%s\"", fail_message());
            continue;
        }
        if (connection_of(&peer, &connection) == OK)
            dispatch(server, connection, &message);
        else
            log_debug("event=message_refused message=%s reason=\"%s\"",
                      message_kind_name(message.kind), fail_message());
        message_done(&message);
    }
}
