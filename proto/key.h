/* key.h - who a program is: a CURVE key pair with a name and a role, in a file.
 *
 * Two kinds of files, both JSON: the key itself (RUN/keys/server.key, a loader's loader.key, or
 * what an operator hands to a worker), which nobody but its owner may read, and the public half of
 * a key that is let in (allowed/NAME.json beside the first two). Keys are those of zmq_curve(7): 32
 * bytes, in Z85. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_KEY_H
#define PROTO_KEY_H

#include "common/status.h"

enum {
    KEY_TEXT_BYTES = 41, /* Z85 of 32 bytes, and its end */
    KEY_NAME_BYTES = 64,
};

/* What its holder may do. */
enum key_role {
    KEY_SERVER, /* be the server */
    KEY_LOADER, /* be a shard server */
    KEY_WORKER, /* train, follow the feed, read from shard servers */
    KEY_VIEWER, /* ask, and follow the feed */
    KEY_OPERATOR,
    KEY_ROLES
};

struct key {
    enum key_role role;
    char name[KEY_NAME_BYTES];
    char public[KEY_TEXT_BYTES];
    char secret[KEY_TEXT_BYTES]; /* "": only the public half is known */
    char server[KEY_TEXT_BYTES]; /* the public key of the server that it is for; "" in its own */
};

const char *key_role_name(enum key_role role);
/* ERR_INPUT names the roles there are. Those who listen (server, loader) are not let in anywhere,
 * so their keys are not made by name. */
enum status key_role_parse(const char *name, enum key_role *ret_role);
/* Letters, digits, '.', '_' and '-', not first a '.': it becomes a file's name. ERR_INPUT. */
enum status key_name_check(const char *name);
/* ERR_INPUT: not Z85 of 32 bytes. */
enum status key_text_check(const char *text);

/* server: the server's public key, or "" . ERR_IO: no random numbers, or a libzmq without CURVE. */
enum status key_make(const char *name, enum key_role role, const char *server, struct key *ret_key);
/* Complete or not at all. With a secret the file is its owner's alone (0600) and ERR_INPUT if it
 * is there already: a key is never written over. ERR_IO. */
enum status key_save(const char *path, const struct key *key);
/* ERR_INPUT: no such file, not a key, or a secret that others can read. ERR_IO. */
enum status key_load(const char *path, struct key *ret_key);

#endif
