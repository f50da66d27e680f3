/* http.c - a small web server for pages and orders, on libmicrohttpd. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/mem.h"

enum {
    REQUEST_MS = 5000, /* from the connection to the end of the request's header */
    ANSWER_MS = 60000, /* and to the end of an answer that ends */
    IDLE_SECONDS = 15, /* no byte went either way */
    MEMORY_BYTES = 32 << 10,
    BACKLOG = 128,
    SEND_BYTES = 128 << 10, /* that the kernel holds for a client that does not read (it takes twice
                             * as many); by itself it would hold megabytes */
    PAGE_BYTES_MAX = 64 << 20,
    HOST_BYTES = 128,
};

/* A connection, from accept to close. */
struct caller {
    struct MHD_Connection *connection;
    int64_t since_ms;
    int has_asked, is_follower;
    uint64_t ticket; /* of its order; 0: it gives none */
    unsigned code;   /* of the answer to that; 0: it waits, and is suspended */
    char *words;     /* of the answer; owned */
    struct caller *before, *after;
};

struct http {
    struct MHD_Daemon *daemon;
    int listener, epoll;
    int is_remote_allowed;
    const struct http_route *routes;
    void *context;
    char address[HOST_BYTES];
    struct caller *callers;
    uint64_t ticket; /* the last */
};

/* ---- addresses ---- */

static int is_loopback(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET) {
        struct sockaddr_in four;
        memcpy(&four, address, sizeof(four));
        return ntohl(four.sin_addr.s_addr) >> 24 == 127;
    }
    struct sockaddr_in6 six;
    memcpy(&six, address, sizeof(six));
    return IN6_IS_ADDR_LOOPBACK(&six.sin6_addr);
}

/* "127.0.0.1:80", "[::1]:80" -> host and port. */
static enum status split(const char *address, char *host, size_t bytes, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    size_t length = colon != NULL ? (size_t)(colon - address) : 0;
    if (length >= 2 && address[0] == '[' && address[length - 1] == ']') {
        address++;
        length -= 2;
    }
    if (colon == NULL || length == 0 || length >= bytes || colon[1] == 0 ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return fail(ERR_INPUT, "'%s' is no address to listen at: 127.0.0.1:5682 or [::1]:5682 are",
                    address);
    snprintf(host, bytes, "%.*s", (int)length, address);
    *ret_port = colon + 1;
    return OK;
}

static enum status bind_listener(const char *address, const struct addrinfo *info, int *ret_file)
{
    const int one = 1, send_bytes = SEND_BYTES; /* its connections inherit them */
    int file = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (file >= 0 && setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
        setsockopt(file, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof(send_bytes)) == 0 &&
        bind(file, info->ai_addr, info->ai_addrlen) == 0 && listen(file, BACKLOG) == 0) {
        *ret_file = file;
        return OK;
    }
    enum status status =
        fail(ERR_IO, "cannot listen at '%s': %s; stop the other program or choose another port",
             address, strerror(errno));
    if (file >= 0)
        close(file);
    return status;
}

static enum status open_listener(struct http *http, const char *address)
{
    char host[HOST_BYTES];
    const char *port = NULL;
    struct addrinfo *found = NULL;
    const struct addrinfo wanted = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                    .ai_socktype = SOCK_STREAM};
    TRY(split(address, host, sizeof(host), &port));
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    int error = getaddrinfo(name, port, &wanted, &found);
    if (error != 0)
        return fail(ERR_INPUT, "cannot listen at '%s': %s", address, gai_strerror(error));
    enum status status = OK;
    if (!http->is_remote_allowed && !is_loopback(found->ai_addr))
        status = fail(ERR_INPUT,
                      "address '%s' can be reached from other hosts, and whoever reaches it reads "
                      "all of it: use 127.0.0.1:PORT behind a proxy with logins, or allow it with "
                      "--allow-remote",
                      address);
    if (status == OK)
        status = bind_listener(address, found, &http->listener);
    freeaddrinfo(found);
    return status;
}

static enum status note_address(struct http *http)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof(bound);
    char host[64], port[16];
    if (getsockname(http->listener, (struct sockaddr *)&bound, &length) != 0 ||
        getnameinfo((struct sockaddr *)&bound, length, host, sizeof(host), port, sizeof(port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return fail(ERR_IO, "cannot ask for the address bound: %s", strerror(errno));
    int is_six = bound.ss_family == AF_INET6;
    snprintf(http->address, sizeof(http->address), "http://%s%s%s:%s/", is_six ? "[" : "", host,
             is_six ? "]" : "", port);
    return OK;
}

/* ---- requests ---- */

static void harden(struct MHD_Response *response)
{
    MHD_add_response_header(response, "Connection", "close");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; script-src 'unsafe-inline'; style-src "
                            "'unsafe-inline'; connect-src 'self'; img-src data:; "
                            "frame-ancestors 'none'; base-uri 'none'; form-action 'none'");
}

/* Takes the response. */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned code, const char *type,
                              struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    harden(response);
    if (type != NULL)
        MHD_add_response_header(response, "Content-Type", type);
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

/* allowed: methods, for METHOD_NOT_ALLOWED. */
static enum MHD_Result refuse_but(struct MHD_Connection *connection, unsigned code,
                                  const char *words, const char *allowed)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(
        strlen(words), (void *)(uintptr_t)words, MHD_RESPMEM_MUST_COPY);
    if (response != NULL && code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, "Allow", allowed);
    if (response != NULL && code == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
    return answer(connection, code, "text/plain; charset=utf-8", response);
}

static enum MHD_Result refuse(struct MHD_Connection *connection, unsigned code, const char *words)
{
    return refuse_but(connection, code, words, "GET, HEAD");
}

/* Called again, with the same request, when the answer is there. */
static enum MHD_Result answer_order(struct http *http, const struct http_route *route,
                                    struct MHD_Connection *connection, struct caller *caller)
{
    const char *words = "";
    if (caller->code != 0)
        return refuse(connection, caller->code, caller->words);
    if (caller->ticket != 0) { /* woken too early */
        MHD_suspend_connection(connection);
        return MHD_YES;
    }
    const uint64_t ticket = ++http->ticket;
    const unsigned code = route->order(http->context, connection, route->path, ticket, &words);
    if (code != 0)
        return refuse(connection, code, words);
    caller->ticket = ticket;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

static enum MHD_Result answer_route(struct http *http, const struct http_route *route,
                                    struct MHD_Connection *connection, struct caller *caller)
{
    if (route->page != NULL)
        return answer(connection, MHD_HTTP_OK, route->type,
                      MHD_create_response_from_buffer(route->page_bytes,
                                                      (void *)(uintptr_t)route->page,
                                                      MHD_RESPMEM_PERSISTENT));
    if (route->follow != NULL) {
        const char *last_id =
            MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Last-Event-ID");
        caller->is_follower = 1;
        return answer(connection, MHD_HTTP_OK, NULL,
                      route->follow(http->context, connection, last_id));
    }
    struct buf text;
    buf_init(&text, PAGE_BYTES_MAX);
    unsigned code = route->write(http->context, &text);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text.length, text.bytes, MHD_RESPMEM_MUST_COPY);
    buf_done(&text);
    return answer(connection, code, route->type, response);
}

/* Does the client call us by a name of this machine's own? */
static int is_called_locally(struct MHD_Connection *connection)
{
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Host");
    if (host == NULL)
        return 0;
    size_t length = host[0] == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");
    struct in_addr four;
    char name[HOST_BYTES];
    if (length >= sizeof(name))
        return 0;
    snprintf(name, sizeof(name), "%.*s", (int)length, host);
    return strcasecmp(name, "localhost") == 0 || strcmp(name, "[::1]") == 0 ||
           (inet_pton(AF_INET, name, &four) == 1 && ntohl(four.s_addr) >> 24 == 127);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *upload, size_t *upload_bytes, void **request)
{
    struct http *http = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct caller *caller = info != NULL ? info->socket_context : NULL;
    (void)version;
    (void)upload;
    (void)upload_bytes;
    (void)request;
    if (caller == NULL)
        return MHD_NO;
    caller->has_asked = 1;
    if (!http->is_remote_allowed && !is_called_locally(connection))
        return refuse(connection, MHD_HTTP_FORBIDDEN, "call it localhost or 127.0.0.1\n");
    const struct http_route *route = http->routes;
    while (route->path != NULL && strcmp(route->path, path) != 0)
        route++;
    if (route->path != NULL && route->order != NULL)
        return strcmp(method, MHD_HTTP_METHOD_POST) == 0
                   ? answer_order(http, route, connection, caller)
                   : refuse_but(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only POST\n", "POST");
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return refuse(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (route->path == NULL)
        return refuse(connection, MHD_HTTP_NOT_FOUND, "no such page\n");
    return answer_route(http, route, connection, caller);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    struct caller *caller = *socket_context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        caller = mem_zero(sizeof(*caller));
        caller->connection = connection;
        caller->since_ms = clock_ms();
        caller->after = http->callers;
        if (http->callers != NULL)
            http->callers->before = caller;
        http->callers = caller;
        *socket_context = caller;
        return;
    }
    if (caller == NULL)
        return;
    if (caller->before != NULL)
        caller->before->after = caller->after;
    else
        http->callers = caller->after;
    if (caller->after != NULL)
        caller->after->before = caller->before;
    mem_free(caller->words);
    mem_free(caller);
    *socket_context = NULL;
}

/* libmicrohttpd's own deadline counts from the last byte: who sends one at a time never meets it.
 */
static void end_overdue(struct http *http)
{
    int64_t now_ms = clock_ms();
    for (struct caller *caller = http->callers; caller != NULL; caller = caller->after) {
        int64_t limit_ms = caller->has_asked ? ANSWER_MS : REQUEST_MS;
        if (caller->is_follower || now_ms - caller->since_ms < limit_ms)
            continue;
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(caller->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        if (info != NULL)
            shutdown(info->connect_fd, SHUT_RDWR);
    }
}

/* ---- life ---- */

static enum status start_daemon(struct http *http)
{
    http->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, http,
        MHD_OPTION_LISTEN_SOCKET, http->listener, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)MEMORY_BYTES, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, http, MHD_OPTION_END);
    if (http->daemon == NULL)
        return fail(ERR_IO, "cannot start libmicrohttpd: %s", strerror(errno));
    http->listener = -1; /* the daemon's */
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (info == NULL)
        return fail(ERR_IO, "libmicrohttpd was built without epoll");
    http->epoll = info->epoll_fd;
    return OK;
}

enum status http_open(const char *address, int is_remote_allowed, const struct http_route *routes,
                      void *context, struct http **ret_http)
{
    struct http *http = mem_zero(sizeof(*http));
    http->listener = -1;
    http->is_remote_allowed = is_remote_allowed;
    http->routes = routes;
    http->context = context;
    enum status status = open_listener(http, address);
    if (status == OK)
        status = note_address(http);
    if (status == OK)
        status = start_daemon(http);
    if (status != OK) {
        http_close(http);
        return status;
    }
    *ret_http = http;
    return OK;
}

void http_close(struct http *http)
{
    if (http == NULL)
        return;
    if (http->daemon != NULL)
        MHD_stop_daemon(http->daemon);
    if (http->listener >= 0)
        close(http->listener);
    mem_free(http);
}

const char *http_address(const struct http *http)
{
    return http->address;
}

int http_fd(const struct http *http)
{
    return http->epoll;
}

static void answer_caller(struct caller *caller, unsigned code, const char *text)
{
    caller->code = code;
    caller->words = mem_format("%s\n", text);
    MHD_resume_connection(caller->connection);
}

void http_answer(struct http *http, uint64_t ticket, unsigned code, const char *text)
{
    for (struct caller *caller = http->callers; caller != NULL; caller = caller->after)
        if (caller->ticket == ticket && caller->code == 0)
            answer_caller(caller, code, text);
}

void http_abandon(struct http *http)
{
    for (struct caller *caller = http->callers; caller != NULL; caller = caller->after)
        if (caller->ticket != 0 && caller->code == 0)
            answer_caller(caller, MHD_HTTP_SERVICE_UNAVAILABLE, "the page's program ends");
}

void http_turn(struct http *http)
{
    end_overdue(http);
    MHD_run(http->daemon);
}
