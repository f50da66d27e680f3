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
    int is_workers; /* nobody else's to say */
    void (*handle)(struct server *server, uint64_t connection, struct message *message);
} rows[] = {
    /* from workers; the coordinator judges state, generation and step */
    {MESSAGE_HELLO, 1, handle_member},
    {MESSAGE_HEARTBEAT, 1, handle_member},
    {MESSAGE_FORMED, 1, handle_member},
    {MESSAGE_PREPARED, 1, handle_member},
    {MESSAGE_RENDEZVOUS, 1, handle_member},
    {MESSAGE_READY, 1, handle_member},
    {MESSAGE_BROKEN, 1, handle_member},
    {MESSAGE_SHARD_UNREADABLE, 1, handle_member},
    {MESSAGE_LEAVE, 1, handle_member},
    {MESSAGE_BYE, 1, handle_member},
    /* from workers; only for the snapshot that is expected */
    {MESSAGE_SNAPSHOT_PART, 1, snapshot_traffic_part},
    /* from anybody at any time */
    {MESSAGE_SNAPSHOT_READ, 0, snapshot_traffic_read},
    {MESSAGE_COMMAND, 0, operator_command},
};

static void dispatch(struct server *server, uint64_t connection, struct message *message)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (rows[i].kind != message->kind)
            continue;
        if (server->gate != NULL && rows[i].is_workers && server->asker.role != KEY_WORKER)
            break;
        rows[i].handle(server, connection, message);
        return;
    }
    log_debug("event=message_refused message=%s key=%s reason=\"not this sender's to say\"",
              message_kind_name(message->kind), server->asker.name);
}

/* A key that was revoked since its handshake has no more say. */
static enum status find_asker(struct server *server)
{
    server->asker = (struct key){.role = KEY_OPERATOR};
    if (server->gate == NULL ||
        gate_find(server->gate, endpoint_user(server->control), &server->asker))
        return OK;
    gate_count_refusal(server->gate);
    return fail(ERR_PROTOCOL, "its key is not let in any more");
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
        if (connection_of(&peer, &connection) == OK && find_asker(server) == OK)
            dispatch(server, connection, &message);
        else
            log_debug("event=message_refused message=%s reason=\"%s\"",
                      message_kind_name(message.kind), fail_message());
        message_done(&message);
    }
}
