/* connection.h - a peer of the control socket as the one number that the coordinator knows it by.
 *
 * ZeroMQ gives every connection an id of 5 bytes that begins with 0; a peer that chose an id of its
 * own is no program of ours. So the number is the id, and no table of connections is needed. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_CONNECTION_H
#define SERVER_CONNECTION_H

#include <stdint.h>

#include "common/status.h"
#include "proto/endpoint.h"

/* ERR_PROTOCOL: the peer chose its id. Never 0. */
enum status connection_of(const struct peer *peer, uint64_t *ret_connection);
struct peer connection_peer(uint64_t connection);

#endif
