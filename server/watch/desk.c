/* desk.c - where orders come in over HTTP: who may give them, which there are. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/desk.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"
#include "common/mem.h"

enum { PEER_BYTES = INET6_ADDRSTRLEN, REASON_BYTES = 200 };

const char *const desk_paths[] = {"/api/v1/pause", "/api/v1/resume", "/api/v1/drain", NULL};
static const char *const commands[] = {"pause", "resume", "worker_drain"};

static const char *header(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* What a browser says of the page that asks: none, or this one. */
static int is_from_elsewhere(struct MHD_Connection *connection)
{
    static const char http[] = "http://";
    const char *origin = header(connection, "Origin"), *host = header(connection, "Host");
    const char *site = header(connection, "Sec-Fetch-Site");
    if (site != NULL && strcmp(site, "same-origin") != 0 && strcmp(site, "none") != 0)
        return 1;
    return origin != NULL && (host == NULL || strncmp(origin, http, strlen(http)) != 0 ||
                              strcasecmp(origin + strlen(http), host) != 0);
}

static int has_body(struct MHD_Connection *connection)
{
    const char *length = header(connection, "Content-Length");
    return header(connection, "Transfer-Encoding") != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

static int is_allowed(const struct token *token, struct MHD_Connection *connection)
{
    static const char bearer[] = "Bearer ";
    const char *words = header(connection, "Authorization");
    return words != NULL && strncasecmp(words, bearer, strlen(bearer)) == 0 &&
           token_matches(token, words + strlen(bearer));
}

static void put_origin(json_t *arguments, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    char peer[PEER_BYTES] = "", words[PEER_BYTES + 16];
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
    if (address != NULL && address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof(four));
        inet_ntop(AF_INET, &four.sin_addr, peer, sizeof(peer));
    } else if (address != NULL && address->sa_family == AF_INET6) {
        struct sockaddr_in6 six;
        memcpy(&six, address, sizeof(six));
        inet_ntop(AF_INET6, &six.sin6_addr, peer, sizeof(peer));
    }
    snprintf(words, sizeof(words), "page from %s", peer);
    json_object_set_new(arguments, "origin", json_text(words));
}

static void put_argument(json_t *arguments, const char *key, struct MHD_Connection *connection,
                         const char *name)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, name);
    char words[REASON_BYTES];
    if (value == NULL)
        return;
    snprintf(words, sizeof(words), "%s", value);
    json_object_set_new(arguments, key, json_text(words));
}

static int order_find(const char *path)
{
    int i = 0;
    while (desk_paths[i] != NULL && strcmp(desk_paths[i], path) != 0)
        i++;
    return i;
}

unsigned desk_read(const struct token *token, struct MHD_Connection *connection, const char *path,
                   struct desk_order *ret_order, const char **ret_words)
{
    const int order = order_find(path);
    if (is_from_elsewhere(connection)) {
        *ret_words = "orders come from this page or from a program, not from another site\n";
        return MHD_HTTP_FORBIDDEN;
    }
    if (!is_allowed(token, connection)) {
        *ret_words =
            "Authorization: Bearer TOKEN is wanted; the token is in the file of --orders\n";
        return MHD_HTTP_UNAUTHORIZED;
    }
    if (has_body(connection)) {
        *ret_words = "an order has no body: ?worker=NAME&reason=WORDS\n";
        return MHD_HTTP_CONTENT_TOO_LARGE;
    }
    json_t *arguments = json_object();
    put_origin(arguments, connection);
    put_argument(arguments, "name", connection, "worker");
    put_argument(arguments, "reason", connection, "reason");
    char *dumped = json_dumps(arguments, JSON_COMPACT);
    ret_order->command = commands[order];
    ret_order->arguments = mem_string(dumped != NULL ? dumped : "");
    free(dumped);
    json_decref(arguments);
    return 0;
}

unsigned desk_code(enum status status)
{
    switch (status) {
    case OK:
        return MHD_HTTP_OK;
    case ERR_INPUT:
        return MHD_HTTP_BAD_REQUEST;
    case ERR_TIMEOUT:
        return MHD_HTTP_GATEWAY_TIMEOUT;
    case ERR_UNREACHABLE:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_BAD_GATEWAY;
    }
}
