/* loader_peer.h - a worker's connection with one loader: what it may send, and what it was told.
 *
 * The loader may have PEER_CREDIT_* on the way to us or here and not used up; what is used up is
 * granted again, in portions. A new connection starts with what is not held of the one before. Not
 * thread-safe: shard_client.h has a lock for it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_LOADER_PEER_H
#define LOADER_LOADER_PEER_H

#include <stdint.h>

#include "common/status.h"
#include "proto/endpoint.h"
#include "proto/loader_address.h"
#include "proto/loader_message.h"

enum {
    PEER_CREDIT_BYTES = 64 << 20, /* the largest record fits */
    PEER_CREDIT_RECORDS = 1024,
    PEER_CREDIT_PORTION = 8, /* a grant is worth a message from this part of the credit on */
};
_Static_assert((int)PEER_CREDIT_BYTES >= (int)LOADER_RECORD_BYTES_MAX, "it could never be sent");

struct loader_peer {
    const struct loader_address *address; /* borrowed, as what follows */
    const struct key *key;                /* the worker's own; NULL: it has none */
    const char *worker;
    struct endpoint *endpoint; /* NULL: none just now */
    int is_up;
    uint64_t next_request;
    int64_t promised_bytes, promised_records; /* it may still send; below 0 by what was urged */
    int64_t held_bytes, held_records;         /* came from it and are not used up */
    struct loader_read read;                  /* being put together */
    uint64_t forget_first;                    /* [forget_first, forget_until): likewise */
    uint64_t forget_until;
    int64_t heard_ms, said_ms; /* clock_ms of the last message */
};

void loader_peer_init(struct loader_peer *peer, const struct loader_address *address,
                      const struct key *key, const char *worker);
/* Does not wait for the other side. ERR_INPUT: that is no address, or it asks for a key and there
 * is none. ERR_IO. */
enum status loader_peer_open(struct loader_peer *peer);
void loader_peer_close(struct loader_peer *peer); /* closed is fine */
void loader_peer_done(struct loader_peer *peer);

/* Those that speak fail as endpoint_send does: the connection is then to be closed. The connection
 * is new: introduces us. */
enum status loader_peer_greet(struct loader_peer *peer);
/* Puts one more record on the next read; *ret_request is its number. shard: the holder's. */
enum status loader_peer_ask(struct loader_peer *peer, const struct loader_shard *shard,
                            uint32_t record, uint64_t *ret_request);
/* Takes it back: at the next loader_peer_flush. */
enum status loader_peer_forget(struct loader_peer *peer, uint64_t request);
/* After a flush with its request. */
enum status loader_peer_urge(struct loader_peer *peer, uint64_t request);
/* Sends what was put together, and grants what is due; says something at least every
 * PEER_SIGN_MS. */
enum status loader_peer_flush(struct loader_peer *peer);
enum { PEER_SIGN_MS = 5000 };

/* May it send a record of so many bytes that nobody urged? What it was granted and has not heard of
 * yet counts. */
int loader_peer_has_credit(const struct loader_peer *peer, uint32_t bytes);
/* The first part of a record of so many bytes has come. is_kept: it is held from now on. */
void loader_peer_charge(struct loader_peer *peer, uint32_t bytes, int is_kept);
/* It is used up. Returns whether a grant is due. */
int loader_peer_use_up(struct loader_peer *peer, uint32_t bytes);

#endif
