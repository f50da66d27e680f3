/* client_key.h - which key a program of ours shows to a server. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_CLIENT_KEY_H
#define PROTO_CLIENT_KEY_H

#include "common/status.h"
#include "proto/key.h"

/* The key in file; else (NULL) that of the environment's SEER_KEY; else, with run (a folder, or
 * NULL) that has keys, its RUN/keys/operator.key. *ret_has: 0 if there is none, which is fine for a
 * server without keys. ERR_INPUT: the file is no whole key, or the run asks for one and there is
 * none to be read. */
enum status client_key_find(const char *file, const char *run, struct key *ret_key, int *ret_has);

#endif
