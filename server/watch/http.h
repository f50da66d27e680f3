/* http.h - a small web server: GET and HEAD of fixed paths, and POST of orders without a body.
 *
 * Made for hostile clients: at most HTTP_CONNECTIONS at once, each with fixed memory, one request,
 * and a deadline for sending it (a client that dribbles its header is cut off), no bodies, no
 * keep-alive. Bound to loopback it answers only those who call it so by name: a page of another
 * site cannot read it through a name that it lets point here (DNS rebinding). No thread of its own:
 * who owns it calls http_turn when http_fd can be read, and at least a few times a second. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_WATCH_HTTP_H
#define SERVER_WATCH_HTTP_H

#include <microhttpd.h>

#include "common/buf.h"
#include "common/status.h"

enum { HTTP_CONNECTIONS = 512 };

/* One path. With page, that is the answer; else write makes it, and its result is the HTTP status;
 * else follow (live.h) makes it. A path with order takes POST alone: order answers at once with an
 * HTTP status and words (copied), or with 0, and http_answer of that ticket comes later. */
struct http_route {
    const char *path, *type;
    const unsigned char *page; /* [page_bytes] */
    size_t page_bytes;
    unsigned (*write)(void *context, struct buf *out);
    struct MHD_Response *(*follow)(void *context, struct MHD_Connection *connection,
                                   const char *last_id);
    unsigned (*order)(void *context, struct MHD_Connection *connection, const char *path,
                      uint64_t ticket, const char **ret_words);
};

struct http;

/* Listens at address, "HOST:PORT" with numbers, "localhost" or "[::1]"; port 0 takes a free one.
 * routes end with a NULL path, borrowed as is context. ERR_INPUT: that is no address, or it can be
 * reached from other hosts and is_remote_allowed is 0. ERR_IO: it is in use. */
enum status http_open(const char *address, int is_remote_allowed, const struct http_route *routes,
                      void *context, struct http **ret_http);
void http_close(struct http *http); /* NULL is fine */
/* "http://HOST:PORT/" really bound. Borrowed. */
const char *http_address(const struct http *http);
int http_fd(const struct http *http);
/* To an order that waits; nothing if its client is gone. text is one line. */
void http_answer(struct http *http, uint64_t ticket, unsigned code, const char *text);
/* Answers all that wait, with words, since this program ends: two turns later http_close is fine.
 */
void http_abandon(struct http *http);
/* Does what there is to do; does not wait. */
void http_turn(struct http *http);

#endif
