/* loader_peer.c - the worker's half of the loader protocol, without its decisions. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/loader_peer.h"

#include <string.h>

#include "common/clock.h"
#include "common/mem.h"

void loader_peer_init(struct loader_peer *peer, const struct loader_address *address,
                      const struct key *key, const char *worker)
{
    *peer = (struct loader_peer){.address = address, .key = key, .worker = worker};
    peer->read.shards = mem_array(LOADER_PAGE_SHARDS, sizeof(*peer->read.shards));
    peer->read.which = mem_array(LOADER_READ_RECORDS, sizeof(*peer->read.which));
    peer->read.records = mem_array(LOADER_READ_RECORDS, sizeof(*peer->read.records));
}

static void forget_what_was_said(struct loader_peer *peer)
{
    for (uint32_t i = 0; i < peer->read.shard_count; i++)
        mem_free(peer->read.shards[i].name);
    peer->read.shard_count = 0;
    peer->read.record_count = 0;
    peer->forget_first = peer->forget_until = 0;
    peer->promised_bytes = peer->promised_records = 0;
}

/* The worker's one key serves for all: it is made out to the server, here to this loader. */
enum status loader_peer_open(struct loader_peer *peer)
{
    const struct loader_address *address = peer->address;
    if (address->key[0] == 0)
        return endpoint_connect_watched(address->endpoint, NULL, &peer->endpoint);
    if (peer->key == NULL)
        return fail(ERR_INPUT,
                    "loader '%s' lets in keys alone, and this worker has none: seer-worker --key "
                    "FILE",
                    address->endpoint);
    struct key key = *peer->key;
    memcpy(key.server, address->key, sizeof(key.server));
    enum status status = endpoint_connect_watched(address->endpoint, &key, &peer->endpoint);
    explicit_bzero(&key, sizeof(key));
    return status;
}

void loader_peer_close(struct loader_peer *peer)
{
    endpoint_close(peer->endpoint);
    peer->endpoint = NULL;
    peer->is_up = 0;
    forget_what_was_said(peer);
}

void loader_peer_done(struct loader_peer *peer)
{
    loader_peer_close(peer);
    mem_free(peer->read.shards);
    mem_free(peer->read.which);
    mem_free(peer->read.records);
}

static enum status say(struct loader_peer *peer, const struct loader_message *message)
{
    struct buf packed;
    buf_init(&packed, LOADER_MESSAGE_BYTES_MAX);
    enum status status = loader_message_encode(message, &packed);
    if (status == OK)
        status = endpoint_send_bytes(peer->endpoint, NULL, packed.bytes, packed.length);
    buf_done(&packed);
    peer->said_ms = clock_ms();
    return status;
}

static int64_t due(int64_t credit, int64_t held, int64_t promised)
{
    return credit > held + promised ? credit - held - promised : 0;
}

enum status loader_peer_greet(struct loader_peer *peer)
{
    forget_what_was_said(peer);
    peer->promised_bytes = due(PEER_CREDIT_BYTES, peer->held_bytes, 0);
    peer->promised_records = due(PEER_CREDIT_RECORDS, peer->held_records, 0);
    const struct loader_message message = {
        .kind = LOADER_GREETING,
        .greeting = {.protocol = LOADER_PROTOCOL_VERSION,
                     .name = (char *)peer->worker,
                     .credit_bytes = (uint64_t)peer->promised_bytes,
                     .credit_records = (uint32_t)peer->promised_records}};
    return say(peer, &message);
}

static enum status flush_read(struct loader_peer *peer)
{
    if (peer->read.record_count == 0)
        return OK;
    const struct loader_message message = {.kind = LOADER_READ, .read = peer->read};
    enum status status = say(peer, &message);
    for (uint32_t i = 0; i < peer->read.shard_count; i++)
        mem_free(peer->read.shards[i].name);
    peer->read.shard_count = 0;
    peer->read.record_count = 0;
    return status;
}

static enum status flush_forget(struct loader_peer *peer)
{
    if (peer->forget_until == peer->forget_first)
        return OK;
    const struct loader_message message = {
        .kind = LOADER_FORGET,
        .request = {peer->forget_first, (uint32_t)(peer->forget_until - peer->forget_first)}};
    peer->forget_first = peer->forget_until = 0;
    return say(peer, &message);
}

/* Where the shard is in the read that is put together; it is put there if it is not. */
static uint32_t place(struct loader_read *read, const struct loader_shard *shard)
{
    uint32_t at = read->shard_count;
    while (at > 0 && strcmp(read->shards[at - 1].name, shard->name) != 0)
        at--;
    if (at > 0)
        return at - 1;
    read->shards[read->shard_count] =
        (struct loader_shard){.name = mem_string(shard->name), .content_hash = shard->content_hash};
    return read->shard_count++;
}

enum status loader_peer_ask(struct loader_peer *peer, const struct loader_shard *shard,
                            uint32_t record, uint64_t *ret_request)
{
    struct loader_read *read = &peer->read;
    if (read->record_count == LOADER_READ_RECORDS || read->shard_count == LOADER_PAGE_SHARDS)
        TRY(flush_read(peer));
    if (read->record_count == 0)
        read->request = peer->next_request;
    read->which[read->record_count] = place(read, shard);
    read->records[read->record_count++] = record;
    *ret_request = peer->next_request++;
    return OK;
}

enum status loader_peer_forget(struct loader_peer *peer, uint64_t request)
{
    int is_next = peer->forget_until == request && peer->forget_until > peer->forget_first;
    if (!is_next) {
        TRY(flush_read(peer)); /* it may be on it */
        TRY(flush_forget(peer));
        peer->forget_first = request;
    }
    peer->forget_until = request + 1;
    return OK;
}

enum status loader_peer_urge(struct loader_peer *peer, uint64_t request)
{
    const struct loader_message message = {.kind = LOADER_URGE, .request = {request, 1}};
    TRY(flush_read(peer));
    return say(peer, &message);
}

static int is_grant_due(const struct loader_peer *peer)
{
    return due(PEER_CREDIT_BYTES, peer->held_bytes, peer->promised_bytes) >=
               PEER_CREDIT_BYTES / PEER_CREDIT_PORTION ||
           due(PEER_CREDIT_RECORDS, peer->held_records, peer->promised_records) >=
               PEER_CREDIT_RECORDS / PEER_CREDIT_PORTION;
}

static enum status grant(struct loader_peer *peer)
{
    int64_t bytes = due(PEER_CREDIT_BYTES, peer->held_bytes, peer->promised_bytes);
    int64_t records = due(PEER_CREDIT_RECORDS, peer->held_records, peer->promised_records);
    const struct loader_message message = {.kind = LOADER_CREDIT,
                                           .credit = {(uint64_t)bytes, (uint32_t)records}};
    peer->promised_bytes += bytes;
    peer->promised_records += records;
    return say(peer, &message);
}

enum status loader_peer_flush(struct loader_peer *peer)
{
    if (!peer->is_up)
        return OK;
    TRY(flush_read(peer));
    TRY(flush_forget(peer));
    if (is_grant_due(peer) || clock_ms() - peer->said_ms >= PEER_SIGN_MS)
        return grant(peer);
    return OK;
}

int loader_peer_has_credit(const struct loader_peer *peer, uint32_t bytes)
{
    return peer->promised_bytes >= (int64_t)bytes && peer->promised_records > 0;
}

void loader_peer_charge(struct loader_peer *peer, uint32_t bytes, int is_kept)
{
    peer->promised_bytes -= bytes;
    peer->promised_records--;
    if (is_kept) {
        peer->held_bytes += bytes;
        peer->held_records++;
    }
}

int loader_peer_use_up(struct loader_peer *peer, uint32_t bytes)
{
    peer->held_bytes -= bytes;
    peer->held_records--;
    return is_grant_due(peer);
}
