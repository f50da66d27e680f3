/* dispatch.h - who may say what to the server, and who answers: one table. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_DISPATCH_H
#define SERVER_DISPATCH_H

#include "server/server.h"

/* Takes what waits at the control socket, at most a bunch of it, and hands it on. */
void dispatch_messages(struct server *server);

#endif
