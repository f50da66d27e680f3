/* endpoint.c - ROUTER and DEALER with the options that facts about failing peers call for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/endpoint.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/mem.h"
#include "proto/gatekeeper.h"

enum {
    ADDRESS_BYTES = 512,
    QUEUE_MESSAGES = 256,    /* per peer and direction: a plan-ahead of plans, a window of parts */
    HANDSHAKE_MS = 2000,     /* a connection that says nothing */
    RECONNECT_MS = 20,       /* first wait of a DEALER that lost its server */
    RECONNECT_MAX_MS = 80,   /* it doubles up to here: what a server's return costs */
    REFUSED_AGAIN_MS = 1000, /* after a server that does not let us in */
    TRANSPORT_BEAT_MS = 250, /* ZMTP ping: finds a dead host, says nothing about progress */
    /* Of a socket with many peers, each of whom pings too: ZeroMQ walks all timers for each answer,
     * a sixth of a server's CPU with a thousand. */
    TRANSPORT_BEAT_MANY_MS = 1000,
    TRANSPORT_TIMEOUT_MS = 1500,
    LINGER_MS = 200, /* last words (dismiss, reply) still leave when an endpoint closes */
};

struct endpoint {
    void *context;
    void *socket;
    void *monitor;                 /* PAIR that tells of connections; NULL: not watched */
    struct gatekeeper *gatekeeper; /* NULL: without a gate */
    int is_router;
    int64_t refused_ms; /* clock_ms; 0: it is not refused just now */
    char address[ADDRESS_BYTES];
    char user[KEY_TEXT_BYTES]; /* of the message received last */
};

static enum status set_option(void *socket, int option, int value)
{
    if (zmq_setsockopt(socket, option, &value, sizeof(value)) != 0)
        return fail(ERR_IO, "ZeroMQ option %d: %s", option, zmq_strerror(errno));
    return OK;
}

static enum status set_options(void *socket, int type)
{
    TRY(set_option(socket, ZMQ_LINGER, LINGER_MS));
    int is_feed = type == ZMQ_PUB || type == ZMQ_SUB;
    TRY(set_option(socket, ZMQ_SNDHWM, is_feed ? ENDPOINT_FEED_QUEUE : QUEUE_MESSAGES));
    TRY(set_option(socket, ZMQ_RCVHWM, is_feed ? ENDPOINT_FEED_QUEUE : QUEUE_MESSAGES));
    TRY(set_option(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS));
    TRY(set_option(socket, ZMQ_HEARTBEAT_IVL,
                   type == ZMQ_DEALER || type == ZMQ_SUB ? TRANSPORT_BEAT_MS
                                                         : TRANSPORT_BEAT_MANY_MS));
    TRY(set_option(socket, ZMQ_HEARTBEAT_TIMEOUT, TRANSPORT_TIMEOUT_MS));
    TRY(set_option(socket, ZMQ_HEARTBEAT_TTL, TRANSPORT_TIMEOUT_MS));
    TRY(set_option(socket, ZMQ_TCP_KEEPALIVE, 1));
    int64_t largest = MESSAGE_BYTES_MAX;
    if (zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof(largest)) != 0)
        return fail(ERR_IO, "ZeroMQ option MAXMSGSIZE: %s", zmq_strerror(errno));
    if (type == ZMQ_PUB)
        return OK;
    if (type == ZMQ_SUB && zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0) != 0)
        return fail(ERR_IO, "ZeroMQ option SUBSCRIBE: %s", zmq_strerror(errno));
    if (type == ZMQ_ROUTER)
        /* A peer that is gone is an error at once instead of a silent drop. */
        return set_option(socket, ZMQ_ROUTER_MANDATORY, 1);
    /* Queue nothing for a server that is not there: old words must not flood a new one. */
    TRY(set_option(socket, ZMQ_IMMEDIATE, 1));
    TRY(set_option(socket, ZMQ_RECONNECT_IVL, RECONNECT_MS));
    return set_option(socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
}

static int starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static enum status set_text(void *socket, int option, const char *text)
{
    if (zmq_setsockopt(socket, option, text, strlen(text)) != 0)
        return fail(ERR_IO, "ZeroMQ option %d: %s", option, zmq_strerror(errno));
    return OK;
}

static enum status set_gate(struct endpoint *endpoint, struct gate *gate)
{
    TRY(set_option(endpoint->socket, ZMQ_CURVE_SERVER, 1));
    TRY(set_text(endpoint->socket, ZMQ_CURVE_SECRETKEY, gate_server_key(gate)->secret));
    TRY(set_text(endpoint->socket, ZMQ_ZAP_DOMAIN, "everseer"));
    return gatekeeper_start(endpoint->context, gate, &endpoint->gatekeeper);
}

static enum status set_key(struct endpoint *endpoint, const struct key *key)
{
    if (key->secret[0] == 0 || key->server[0] == 0)
        return fail(ERR_INPUT, "key '%s' does not know its %s: 'seer key new' makes whole ones",
                    key->name, key->secret[0] == 0 ? "secret half" : "server's key");
    TRY(set_text(endpoint->socket, ZMQ_CURVE_SERVERKEY, key->server));
    TRY(set_text(endpoint->socket, ZMQ_CURVE_PUBLICKEY, key->public));
    return set_text(endpoint->socket, ZMQ_CURVE_SECRETKEY, key->secret);
}

int endpoint_is_local(const char *address)
{
    static const char loopback[] = "tcp://127.";
    static const char *const local[] = {"tcp://localhost:", "tcp://[::1]:", "ipc://", "inproc://"};
    if (strchr(address, ';') != NULL) /* ZeroMQ's SOURCE;DESTINATION */
        return 0;
    if (starts_with(address, loopback)) /* numbers, and no name that begins so */
        return strspn(address + strlen(loopback), "0123456789.:*") ==
               strlen(address + strlen(loopback));
    for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
        if (starts_with(address, local[i]))
            return 1;
    return 0;
}

static enum status endpoint_create(int type, struct endpoint **ret_endpoint)
{
    struct endpoint *endpoint = mem_zero(sizeof(*endpoint));
    enum status status = OK;
    endpoint->is_router = type == ZMQ_ROUTER;
    endpoint->context = zmq_ctx_new();
    if (endpoint->context != NULL)
        endpoint->socket = zmq_socket(endpoint->context, type);
    if (endpoint->socket == NULL)
        status = fail(ERR_IO, "cannot make a ZeroMQ socket: %s", zmq_strerror(errno));
    if (status == OK)
        status = set_options(endpoint->socket, type);
    if (status != OK) {
        endpoint_close(endpoint);
        return status;
    }
    *ret_endpoint = endpoint;
    return OK;
}

static enum status bind_failed(const char *address)
{
    if (errno == EADDRINUSE)
        return fail(ERR_IO,
                    "cannot listen at '%s': the address is in use; stop the other program or "
                    "choose another port (port * takes a free one)",
                    address);
    if (errno == EINVAL || errno == EPROTONOSUPPORT || errno == ENODEV)
        return fail(ERR_INPUT,
                    "cannot listen at '%s': %s; an address looks like tcp://127.0.0.1:4711 or "
                    "ipc:///run/seer.sock",
                    address, zmq_strerror(errno));
    return fail(ERR_IO, "cannot listen at '%s': %s", address, zmq_strerror(errno));
}

static enum status bind_socket(int type, const char *address, struct gate *gate,
                               struct endpoint **ret_endpoint)
{
    struct endpoint *endpoint = NULL;
    if (gate == NULL && !endpoint_is_local(address))
        return fail(ERR_INPUT,
                    "address '%s' can be reached from other hosts, and there are no keys to tell "
                    "friends from strangers: use tcp://127.0.0.1:PORT or ipc://PATH",
                    address);
    TRY(endpoint_create(type, &endpoint));
    enum status status = gate != NULL ? set_gate(endpoint, gate) : OK;
    size_t length = sizeof(endpoint->address);
    if (status == OK && zmq_bind(endpoint->socket, address) != 0)
        status = bind_failed(address);
    if (status == OK &&
        zmq_getsockopt(endpoint->socket, ZMQ_LAST_ENDPOINT, endpoint->address, &length) != 0)
        status = fail(ERR_IO, "cannot ask for the address bound: %s", zmq_strerror(errno));
    if (status != OK) {
        endpoint_close(endpoint);
        return status;
    }
    *ret_endpoint = endpoint;
    return OK;
}

enum status endpoint_bind(const char *address, struct gate *gate, struct endpoint **ret_endpoint)
{
    return bind_socket(ZMQ_ROUTER, address, gate, ret_endpoint);
}

enum status endpoint_publish(const char *address, struct gate *gate, struct endpoint **ret_endpoint)
{
    return bind_socket(ZMQ_PUB, address, gate, ret_endpoint);
}

/* Before connecting, or the first connection is missed. */
static enum status watch(struct endpoint *endpoint)
{
    static const char address[] = "inproc://monitor"; /* the context is this endpoint's alone */
    int linger = 0;
    int events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor(endpoint->socket, address, events) != 0)
        return fail(ERR_IO, "cannot watch '%s': %s", endpoint->address, zmq_strerror(errno));
    endpoint->monitor = zmq_socket(endpoint->context, ZMQ_PAIR);
    if (endpoint->monitor == NULL ||
        zmq_setsockopt(endpoint->monitor, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        zmq_connect(endpoint->monitor, address) != 0)
        return fail(ERR_IO, "cannot watch '%s': %s", endpoint->address, zmq_strerror(errno));
    return OK;
}

static enum status connect_failed(const char *address)
{
    if (errno == EMTHREAD || errno == ETERM || errno == EMFILE)
        return fail(ERR_IO, "cannot connect to '%s': %s", address, zmq_strerror(errno));
    return fail(ERR_INPUT, "cannot connect to '%s': %s; an address looks like tcp://127.0.0.1:4711",
                address, zmq_strerror(errno));
}

static enum status connect_socket(int type, const char *address, const struct key *key,
                                  int is_watched, struct endpoint **ret_endpoint)
{
    struct endpoint *endpoint = NULL;
    if (strlen(address) >= ADDRESS_BYTES)
        return fail(ERR_INPUT, "an address of %zu bytes, at most %d", strlen(address),
                    ADDRESS_BYTES - 1);
    TRY(endpoint_create(type, &endpoint));
    memcpy(endpoint->address, address, strlen(address));
    enum status status = key != NULL ? set_key(endpoint, key) : OK;
    if (status == OK && is_watched)
        status = watch(endpoint);
    if (status == OK && zmq_connect(endpoint->socket, address) != 0)
        status = connect_failed(address);
    if (status != OK) {
        endpoint_close(endpoint);
        return status;
    }
    *ret_endpoint = endpoint;
    return OK;
}

enum status endpoint_subscribe(const char *address, const struct key *key,
                               struct endpoint **ret_endpoint)
{
    return connect_socket(ZMQ_SUB, address, key, 0, ret_endpoint);
}

enum status endpoint_connect(const char *address, const struct key *key,
                             struct endpoint **ret_endpoint)
{
    return connect_socket(ZMQ_DEALER, address, key, 0, ret_endpoint);
}

enum status endpoint_connect_watched(const char *address, const struct key *key,
                                     struct endpoint **ret_endpoint)
{
    return connect_socket(ZMQ_DEALER, address, key, 1, ret_endpoint);
}

void endpoint_close(struct endpoint *endpoint)
{
    if (endpoint == NULL)
        return;
    if (endpoint->monitor != NULL) {
        zmq_socket_monitor(endpoint->socket, NULL, 0);
        zmq_close(endpoint->monitor);
    }
    if (endpoint->socket != NULL)
        zmq_close(endpoint->socket);
    if (endpoint->gatekeeper != NULL)
        zmq_ctx_shutdown(endpoint->context);
    gatekeeper_join(endpoint->gatekeeper);
    if (endpoint->context != NULL)
        zmq_ctx_term(endpoint->context);
    mem_free(endpoint);
}

const char *endpoint_address(const struct endpoint *endpoint)
{
    return endpoint->address;
}

int endpoint_fd(const struct endpoint *endpoint)
{
    int fd = -1;
    size_t length = sizeof(fd);
    zmq_getsockopt(endpoint->socket, ZMQ_FD, &fd, &length);
    return fd;
}

void *endpoint_socket(const struct endpoint *endpoint)
{
    return endpoint->socket;
}

static enum status send_frame(struct endpoint *endpoint, const void *bytes, size_t length,
                              int flags)
{
    while (zmq_send(endpoint->socket, bytes, length, flags | ZMQ_DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        if (errno == EAGAIN)
            return fail(ERR_UNREACHABLE, "'%s': the other side does not take messages",
                        endpoint->address);
        if (errno == EHOSTUNREACH)
            return fail(ERR_UNREACHABLE, "'%s': the peer has gone", endpoint->address);
        return fail(ERR_IO, "cannot send through '%s': %s", endpoint->address, zmq_strerror(errno));
    }
    return OK;
}

enum status endpoint_send_bytes(struct endpoint *endpoint, const struct peer *peer,
                                const void *bytes, size_t length)
{
    /* Only the first frame can fail for want of room: ZeroMQ takes a multipart message whole. */
    if (endpoint->is_router)
        TRY(send_frame(endpoint, peer->bytes, peer->length, ZMQ_SNDMORE));
    return send_frame(endpoint, bytes, length, 0);
}

enum status endpoint_send(struct endpoint *endpoint, const struct peer *peer,
                          const struct message *message)
{
    struct buf packed;
    buf_init(&packed, MESSAGE_BYTES_MAX);
    enum status status = message_encode(message, &packed);
    if (status == OK)
        status = endpoint_send_bytes(endpoint, peer, packed.bytes, packed.length);
    buf_done(&packed);
    return status;
}

/* ERR_END: nothing within timeout_ms. */
static enum status wait_readable(struct endpoint *endpoint, int timeout_ms)
{
    int64_t deadline = clock_ms() + timeout_ms;
    for (;;) {
        zmq_pollitem_t item = {.socket = endpoint->socket, .events = ZMQ_POLLIN};
        int64_t left = deadline - clock_ms();
        int ready = zmq_poll(&item, 1, left > 0 ? (long)left : 0);
        if (ready > 0)
            return OK;
        if (ready == 0)
            return ERR_END;
        if (errno != EINTR)
            return fail(ERR_IO, "cannot wait for '%s': %s", endpoint->address, zmq_strerror(errno));
    }
}

/* Takes the next frame; ERR_END if there is none. */
static enum status take_frame(struct endpoint *endpoint, zmq_msg_t *frame)
{
    while (zmq_msg_recv(frame, endpoint->socket, ZMQ_DONTWAIT) < 0) {
        if (errno == EAGAIN)
            return ERR_END;
        if (errno != EINTR)
            return fail(ERR_IO, "cannot receive from '%s': %s", endpoint->address,
                        zmq_strerror(errno));
    }
    return OK;
}

/* Reads and forgets the frames that a message of ours does not have. Returns how many. */
static int drop_frames(struct endpoint *endpoint, zmq_msg_t *frame)
{
    int count = 0;
    while (zmq_msg_more(frame) && take_frame(endpoint, frame) == OK)
        count++;
    return count;
}

static enum status take_peer(struct endpoint *endpoint, zmq_msg_t *frame, struct peer *ret_peer)
{
    TRY(take_frame(endpoint, frame));
    size_t length = zmq_msg_size(frame);
    if (length > PEER_BYTES_MAX || !zmq_msg_more(frame)) {
        drop_frames(endpoint, frame);
        return fail(ERR_PROTOCOL, "'%s': a routing id of %zu bytes", endpoint->address, length);
    }
    ret_peer->length = (uint8_t)length;
    memcpy(ret_peer->bytes, zmq_msg_data(frame), length);
    return OK;
}

static void note_user(struct endpoint *endpoint, zmq_msg_t *frame)
{
    const char *user = endpoint->gatekeeper != NULL ? zmq_msg_gets(frame, "User-Id") : NULL;
    size_t length = user != NULL ? strlen(user) : 0;
    if (length >= sizeof(endpoint->user))
        length = 0;
    memcpy(endpoint->user, user != NULL ? user : "", length);
    endpoint->user[length] = 0;
}

static enum status take_content(struct endpoint *endpoint, zmq_msg_t *frame, struct peer *ret_peer)
{
    if (endpoint->is_router)
        TRY(take_peer(endpoint, frame, ret_peer));
    TRY(take_frame(endpoint, frame));
    note_user(endpoint, frame);
    if (zmq_msg_more(frame))
        return fail(ERR_PROTOCOL, "'%s': %d frames too many", endpoint->address,
                    drop_frames(endpoint, frame));
    return OK;
}

/* What a peer says, as one frame; ret_peer may be NULL. */
static enum status wait_content(struct endpoint *endpoint, int timeout_ms, zmq_msg_t *frame,
                                struct peer *ret_peer)
{
    struct peer peer = {0};
    enum status status = take_content(endpoint, frame, &peer);
    if (status == ERR_END && timeout_ms > 0) {
        status = wait_readable(endpoint, timeout_ms);
        if (status == OK)
            status = take_content(endpoint, frame, &peer);
    }
    if (ret_peer != NULL && peer.length > 0)
        *ret_peer = peer;
    return status;
}

enum status endpoint_receive(struct endpoint *endpoint, int timeout_ms, struct peer *ret_peer,
                             struct message *ret_message)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    enum status status = wait_content(endpoint, timeout_ms, &frame, ret_peer);
    if (status == OK)
        status = message_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), ret_message);
    zmq_msg_close(&frame);
    return status;
}

enum status endpoint_receive_bytes(struct endpoint *endpoint, struct peer *ret_peer,
                                   struct buf *out)
{
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    enum status status = wait_content(endpoint, 0, &frame, ret_peer);
    if (status == OK && buf_append(out, zmq_msg_data(&frame), zmq_msg_size(&frame)) != OK)
        status = fail(ERR_PROTOCOL, "'%s': a message of %zu bytes, at most %zu", endpoint->address,
                      zmq_msg_size(&frame), out->limit);
    zmq_msg_close(&frame);
    return status;
}

const char *endpoint_user(const struct endpoint *endpoint)
{
    return endpoint->user;
}

int peer_equal(const struct peer *a, const struct peer *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

void *endpoint_watch_socket(const struct endpoint *endpoint)
{
    return endpoint->monitor;
}

/* ZeroMQ gives up a connection that is refused; keys may come later. */
static void connect_again(struct endpoint *endpoint)
{
    if (endpoint->refused_ms == 0 || clock_ms() - endpoint->refused_ms < REFUSED_AGAIN_MS)
        return;
    zmq_disconnect(endpoint->socket, endpoint->address); /* ENOENT: it has given up */
    int is_tried = zmq_connect(endpoint->socket, endpoint->address) == 0;
    endpoint->refused_ms = is_tried ? 0 : clock_ms();
}

enum endpoint_change endpoint_watch_next(struct endpoint *endpoint)
{
    uint8_t bytes[6]; /* zmq_socket_monitor(3): 16 bits of event, 32 of value; then the address */
    char address[ADDRESS_BYTES];
    connect_again(endpoint);
    if (zmq_recv(endpoint->monitor, bytes, sizeof(bytes), ZMQ_DONTWAIT) != sizeof(bytes))
        return ENDPOINT_SAME;
    zmq_recv(endpoint->monitor, address, sizeof(address), ZMQ_DONTWAIT);
    uint16_t event;
    memcpy(&event, bytes, sizeof(event));
    if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
        return ENDPOINT_UP;
    if (event == ZMQ_EVENT_DISCONNECTED)
        return ENDPOINT_DOWN;
    endpoint->refused_ms = clock_ms();
    return ENDPOINT_REFUSED;
}
