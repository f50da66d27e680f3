/* gate.h - who may connect: the keys that a run, or a loader, lets in.
 *
 * A folder (RUN/keys, or a loader's) has the server's own key (server.key, loader.key) and, in
 * allowed/, a file for each key that is let in; a loader's lets in workers alone. Whoever adds or
 * removes one (seer key) needs no word with the server: the folder is looked at again at every
 * handshake and by gate_look. ZeroMQ asks a thread at each endpoint (gatekeeper.h) at the
 * handshake; what a connection says later is judged by gate_find, so that a key that was revoked
 * has no more say, also where its connection stays. Any thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_GATE_H
#define PROTO_GATE_H

#include <stdint.h>

#include "common/status.h"
#include "proto/key.h"

struct gate;

/* role: KEY_SERVER or KEY_LOADER, whose folder it is. *ret_gate is NULL if it has no key of that
 * role: then there is no gate, and the server listens to this host only. ERR_INPUT: a file there is
 * no key, or lies open to others. ERR_IO. */
enum status gate_open(const char *directory, enum key_role role, struct gate **ret_gate);
void gate_close(struct gate *gate); /* NULL is fine */
const struct key *gate_server_key(const struct gate *gate);
/* Reads the allowed keys again if the folder has changed; a file that is no key lets nobody in, and
 * is complained of in the log. */
void gate_look(struct gate *gate);
/* Z85 of a connection's public key. Returns 0 if it is not let in (any more). *ret_key without a
 * secret. */
int gate_find(struct gate *gate, const char *public, struct key *ret_key);
/* Handshakes refused so far. */
uint64_t gate_refused(struct gate *gate);
void gate_count_refusal(struct gate *gate);

#endif
