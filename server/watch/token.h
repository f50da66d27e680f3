/* token.h - a secret that whoever gives orders over HTTP must know.
 *
 * In a file that only its owner may read, made with a random one if it is not there: configs and
 * command lines are read by others. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_TOKEN_H
#define SERVER_WATCH_TOKEN_H

#include "common/status.h"

enum { TOKEN_BYTES_MIN = 16, TOKEN_BYTES_MAX = 256 };

struct token {
    char text[TOKEN_BYTES_MAX + 1];
};

/* The first line of the file. ERR_INPUT: others may read it, or it is too short or too long;
 * ERR_IO. */
enum status token_load(const char *path, struct token *ret_token);
/* In a time that does not tell how much of it is right. NULL does not match. */
int token_matches(const struct token *token, const char *text);

#endif
