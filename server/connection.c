/* connection.c - a peer of the control socket as one number. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/connection.h"

enum { ID_BYTES = 5 };

/* Set in every connection, so that none is 0. */
#define MARK (UINT64_C(1) << 63)

enum status connection_of(const struct peer *peer, uint64_t *ret_connection)
{
    if (peer->length != ID_BYTES || peer->bytes[0] != 0)
        return fail(ERR_PROTOCOL, "a peer chose its own routing id of %u bytes", peer->length);
    uint64_t connection = MARK;
    for (int i = 1; i < ID_BYTES; i++)
        connection |= (uint64_t)peer->bytes[i] << (8 * i);
    *ret_connection = connection;
    return OK;
}

struct peer connection_peer(uint64_t connection)
{
    struct peer peer = {.length = ID_BYTES};
    for (int i = 1; i < ID_BYTES; i++)
        peer.bytes[i] = (uint8_t)(connection >> (8 * i));
    return peer;
}
