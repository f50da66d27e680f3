/* perform.h - carries out what the coordinator wants done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_PERFORM_H
#define SERVER_PERFORM_H

#include "server/server.h"

/* Carries out server->actions in order. A journal that cannot be written ends the server: its
 * status is set and what follows is left undone. */
void perform_actions(struct server *server);

#endif
