/* dispatch.c - who may say what to the server, and who answers: one table. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/dispatch.h"

#include "common/log.h"
#include "server/connection.h"
#include "server/operator.h"
#include "server/server.h"

/* So many, then the loop looks at signals, processes and time again. */
enum { BUNCH = 64 };

static void handle_member(struct server *server, uint64_t connection, struct message *message)
{
    server_handle(server, &(struct coordinator_event){.kind = COORDINATOR_MESSAGE,
                                                      .connection = connection,
                                                      .message = message});
}

/* A handler may take what the message owns and leave it empty. */
static const struct {
    enum message_kind kind;
    void (*handle)(struct server *server, uint64_t connection, struct message *message);
} rows[] = {
    /* from workers; the coordinator judges state, generation and step */
    {MESSAGE_HELLO, handle_member},
    {MESSAGE_HEARTBEAT, handle_member},
    {MESSAGE_FORMED, handle_member},
    {MESSAGE_PREPARED, handle_member},
    {MESSAGE_RENDEZVOUS, handle_member},
    {MESSAGE_READY, handle_member},
    {MESSAGE_BROKEN, handle_member},
    {MESSAGE_SHARD_UNREADABLE, handle_member},
    {MESSAGE_LEAVE, handle_member},
    {MESSAGE_BYE, handle_member},
    /* from workers; only for the snapshot that is expected */
    {MESSAGE_SNAPSHOT_PART, snapshot_traffic_part},
    /* from anybody at any time */
    {MESSAGE_SNAPSHOT_READ, snapshot_traffic_read},
    {MESSAGE_COMMAND, operator_command},
};

static void dispatch(struct server *server, uint64_t connection, struct message *message)
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
