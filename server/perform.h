/* perform.h - carries out what the coordinator wants done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_PERFORM_H
#define SERVER_PERFORM_H

#include "server/server.h"

/* Carries out server->actions in order. A journal that cannot be written ends the server: its
 * status is set and what follows is left undone. */
void perform_actions(struct server *server);
/* Sends the plans that a verdict went before, makes it as durable as the rest of the journal and
 * its step known to viewers. What is to be carried out after it, other than telling, does so first;
 * else the loop does when perform_is_late. */
void perform_late(struct server *server);
int perform_is_late(const struct server *server);

#endif
