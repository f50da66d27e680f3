/* gatekeeper.h - answers ZeroMQ's question at each handshake of one context (ZAP, RFC 27). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_GATEKEEPER_H
#define PROTO_GATEKEEPER_H

#include "proto/gate.h"

struct gatekeeper;

/* Starts the thread that answers for sockets of the context; call before the first of them binds.
 * gate is borrowed. A connection that is let in has its public key, in Z85, as User-Id. ERR_IO. */
enum status gatekeeper_start(void *context, struct gate *gate, struct gatekeeper **ret_gatekeeper);
/* Waits for the thread, which ends when zmq_ctx_shutdown was called for its context. NULL is fine.
 */
void gatekeeper_join(struct gatekeeper *gatekeeper);

#endif
