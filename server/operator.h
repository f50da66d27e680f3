/* operator.h - what operators may ask and order, by name, in JSON. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_OPERATOR_H
#define SERVER_OPERATOR_H

#include "server/server.h"

/* Carries out a MESSAGE_COMMAND; it is always answered by a MESSAGE_REPLY, sometimes later. */
void operator_command(struct server *server, uint64_t connection, struct message *message);

/* Answers a command that took its time. text: JSON if status is OK, else words for people. */
void operator_answer(struct server *server, uint64_t connection, uint64_t request,
                     enum status status, const char *text);

#endif
