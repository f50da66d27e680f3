/* desk.h - where orders come in over HTTP: who may give them, which there are.
 *
 * POST without a body, `Authorization: Bearer TOKEN`. A browser sends that header to another site
 * only after a question that nobody answers here (CORS), and a page of another site is refused by
 * its Origin besides, so nobody can be made to give an order by looking at a page (CSRF). What the
 * server is told is what `seer pause` tells it; its event log says where the order came from. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_DESK_H
#define SERVER_WATCH_DESK_H

#include <jansson.h>
#include <microhttpd.h>

#include "server/watch/token.h"

struct desk_order {
    const char *command; /* "pause", as in PROTOCOL.md */
    char *arguments;     /* JSON; the caller's (mem_free) */
};

/* Reads an order from a request for `path`. 0 and *ret_order; or the HTTP status with which it is
 * to be refused, and *ret_words, one line. */
unsigned desk_read(const struct token *token, struct MHD_Connection *connection, const char *path,
                   struct desk_order *ret_order, const char **ret_words);
/* The HTTP status of the server's answer. */
unsigned desk_code(enum status status);
/* The paths of orders, NULL-ended. */
extern const char *const desk_paths[];

#endif
