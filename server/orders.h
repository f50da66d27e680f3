/* orders.h - what operators order: each order may be given twice, is durable before it is answered,
 * and stands in the event log with its reason. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_ORDERS_H
#define SERVER_ORDERS_H

#include "server/core.h"

/* Carries out a COORDINATOR_COMMAND and answers it, or lets it be answered by who finishes it. */
void orders_handle(struct coordinator *c, const struct coordinator_event *event);

#endif
