/* endpoint.h - ZeroMQ sockets that carry messages: one ROUTER in the server, a DEALER in each peer.
 *
 * Non-blocking: sends that would block fail with ERR_UNREACHABLE, receives return ERR_END when
 * there is nothing. Peers are told apart by the routing id that ZeroMQ gives each connection (never
 * one of our own: a crashed peer that returns is a new connection). endpoint.c has ZeroMQ's
 * options and why they are so. One thread per endpoint. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_ENDPOINT_H
#define PROTO_ENDPOINT_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/status.h"
#include "proto/gate.h"
#include "proto/key.h"
#include "proto/message.h"

enum { PEER_BYTES_MAX = 32 };

/* A connection as the ROUTER knows it; a value. */
struct peer {
    uint8_t length;
    uint8_t bytes[PEER_BYTES_MAX];
};

struct endpoint;

/* Whether only this host can reach it: loopback or ipc. */
int endpoint_is_local(const char *address);
/* Binds; "tcp://127.0.0.1:*" picks a free port. With a gate (borrowed) every connection is
 * encrypted and only keys that are let in get one; without (NULL) an address that is not loopback
 * or ipc is refused (ERR_INPUT). ERR_IO names address and remedy when the port is in use. */
enum status endpoint_bind(const char *address, struct gate *gate, struct endpoint **ret_endpoint);
/* Messages that wait for a listener of a PUB socket: rounds of a thousand workers, about a MiB. */
enum { ENDPOINT_FEED_QUEUE = 8192 };

/* As endpoint_bind for a PUB socket: use endpoint_socket to send, never endpoint_send. */
enum status endpoint_publish(const char *address, struct gate *gate,
                             struct endpoint **ret_endpoint);
/* The other end of a PUB socket: a SUB socket that hears all topics. Does not wait; comes back by
 * itself. Use endpoint_socket to receive, never endpoint_receive. ERR_INPUT, ERR_IO. */
enum status endpoint_subscribe(const char *address, const struct key *key,
                               struct endpoint **ret_endpoint);
/* Does not wait for the other side to be there. key: who we are, for a server that has a gate;
 * copied; NULL: nobody. ERR_INPUT: that is no address; ERR_IO. */
enum status endpoint_connect(const char *address, const struct key *key,
                             struct endpoint **ret_endpoint);
void endpoint_close(struct endpoint *endpoint); /* NULL is fine */
/* The address really bound or connected to. Borrowed. */
const char *endpoint_address(const struct endpoint *endpoint);
/* File descriptor that becomes readable when there may be something (edge-triggered, as ZMQ_FD:
 * after it fires, receive until ERR_END). */
int endpoint_fd(const struct endpoint *endpoint);
/* The raw socket, for zmq_poll. */
void *endpoint_socket(const struct endpoint *endpoint);
/* peer: NULL on a DEALER. */
enum status endpoint_send(struct endpoint *endpoint, const struct peer *peer,
                          const struct message *message);
/* Waits at most timeout_ms (0: not at all). ERR_END: nothing. ERR_PROTOCOL: a bad message was
 * dropped (ret_peer is set). On OK the caller owns *ret_message. ret_peer may be NULL on a DEALER.
 */
enum status endpoint_receive(struct endpoint *endpoint, int timeout_ms, struct peer *ret_peer,
                             struct message *ret_message);
/* The public key, in Z85, of who sent what was received last; "" without a gate. */
const char *endpoint_user(const struct endpoint *endpoint);
/* The same for those who speak another protocol than message.h's (loader_message.h). Receiving does
 * not wait, and appends to out, whose limit is the largest message. */
enum status endpoint_send_bytes(struct endpoint *endpoint, const struct peer *peer,
                                const void *bytes, size_t length);
enum status endpoint_receive_bytes(struct endpoint *endpoint, struct peer *ret_peer,
                                   struct buf *out);
int peer_equal(const struct peer *a, const struct peer *b);

/* Whether the server is there, as a DEALER's connection sees it. A new connection is a new peer to
 * the server: whoever sees UP introduces himself. */
enum endpoint_change {
    ENDPOINT_SAME,
    ENDPOINT_UP,
    ENDPOINT_DOWN,
    ENDPOINT_REFUSED /* the other side does not take our key, or asks for one; it is tried again */
};
/* As endpoint_connect, and follows the connection: the caller must take the changes. */
enum status endpoint_connect_watched(const char *address, const struct key *key,
                                     struct endpoint **ret_endpoint);
/* The raw socket that becomes readable when there is a change, for zmq_poll. */
void *endpoint_watch_socket(const struct endpoint *endpoint);
/* The next change; does not wait. To be asked now and then too: after a refusal it connects again.
 */
enum endpoint_change endpoint_watch_next(struct endpoint *endpoint);

#endif
