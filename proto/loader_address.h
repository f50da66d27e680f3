/* loader_address.h - how people name a shard server: where it is, and the key that it must show.
 *
 * "ADDRESS" for one of this host, "ADDRESS,KEY" for one that has keys; KEY is its public one, as
 * 'seer key init --keys' prints it. Z85 has no comma, so the last one divides. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef PROTO_LOADER_ADDRESS_H
#define PROTO_LOADER_ADDRESS_H

#include "common/status.h"
#include "proto/key.h"

enum { LOADER_ADDRESS_BYTES = 256 };

struct loader_address {
    char endpoint[LOADER_ADDRESS_BYTES]; /* ZeroMQ address */
    char key[KEY_TEXT_BYTES];            /* "": it shows none */
};

/* ERR_INPUT: what follows the comma is no key, or there is none and the address is another host's.
 */
enum status loader_address_parse(const char *text, struct loader_address *ret_address);

#endif
