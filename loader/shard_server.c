/* shard_server.c - the loop of seer-loader: peers, what they were told, what they wait for. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/shard_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"
#include "loader/served_peer.h"
#include "loader/shard_catalogue.h"
#include "loader/shard_fault.h"
#include "proto/endpoint.h"
#include "proto/gate.h"

enum {
    HEAR_MAX = 64,          /* messages of a turn */
    REFRESH_MS = 200,       /* what it holds, and whom it lets in, is looked at so often */
    REFUSED_AT_ONCE = 1024, /* reads of one turn that come to nothing */
};

_Static_assert((int)RECORD_BYTES_MAX == (int)LOADER_RECORD_BYTES_MAX, "one limit for a record");

struct shard_server {
    struct gate *gate; /* NULL: everybody on this host is let in */
    struct endpoint *endpoint;
    struct shard_catalogue *catalogue;
    int signal_fd;
    struct inventory told; /* to everybody */
    int is_whole;          /* so was that this is all of it */
    int64_t refresh_ms;
    struct served_peers peers;
    struct buf incoming, outgoing;
    uint8_t *staging;             /* [LOADER_PART_BYTES] copies of what is sent */
    struct loader_part *parts;    /* [LOADER_PARTS_MAX] */
    struct loader_shard *page;    /* [LOADER_PAGE_SHARDS]; borrowed texts */
    struct loader_inventory said; /* the page that is being put together */
    uint64_t said_count;          /* shards of it and of the pages before it */
    struct served_peer *listener; /* of it; NULL: everybody */
};

/* ---- speaking ---- */

/* ERR_UNREACHABLE: it takes nothing now. A peer that has gone is marked so. */
static enum status say(struct shard_server *server, const struct peer *peer,
                       const struct loader_message *message)
{
    buf_clear(&server->outgoing);
    TRY(loader_message_encode(message, &server->outgoing));
    return endpoint_send_bytes(server->endpoint, peer, server->outgoing.bytes,
                               server->outgoing.length);
}

/* Words that must not be lost: who does not take them has to begin anew. */
static void say_or_part(struct shard_server *server, struct served_peer *peer,
                        const struct loader_message *message)
{
    if (say(server, &peer->peer, message) != OK)
        peer->is_gone = 1;
}

static void refuse_stranger(struct shard_server *server, const struct peer *peer, const char *why)
{
    const struct loader_message message = {
        .kind = LOADER_REFUSAL,
        .refusal = {.cause = LOADER_REFUSAL_STRANGER, .reason = (char *)why}};
    if (say(server, peer, &message) != OK)
        log_debug("event=refusal_lost reason=\"%s\"", fail_message());
}

/* ---- the inventory ---- */

static void say_page(struct shard_server *server)
{
    const struct loader_message message = {.kind = LOADER_INVENTORY, .inventory = server->said};
    for (uint32_t i = 0; i < server->peers.count; i++)
        if (server->listener == NULL || server->listener == server->peers.items[i])
            say_or_part(server, server->peers.items[i], &message);
    server->said.is_first = 0;
    server->said.shard_count = 0;
}

static void add_to_page(void *context, const struct loader_shard *shard)
{
    struct shard_server *server = context;
    server->said.shards[server->said.shard_count++] = *shard;
    server->said_count++;
    if (server->said.shard_count == LOADER_PAGE_SHARDS)
        say_page(server);
}

static void begin_page(struct shard_server *server, struct served_peer *listener, int is_first)
{
    server->listener = listener;
    server->said_count = 0;
    server->said = (struct loader_inventory){
        .protocol = LOADER_PROTOCOL_VERSION, .is_first = is_first, .shards = server->page};
}

static void tell_all(struct shard_server *server, struct served_peer *peer)
{
    static const struct inventory nothing;
    begin_page(server, peer, 1);
    inventory_compare(&nothing, &server->told, add_to_page, server);
    server->said.is_last = server->is_whole;
    say_page(server);
}

/* Tells everybody what has changed, if anything has: five times a second nothing has. */
static void refresh(struct shard_server *server)
{
    int is_whole = 0;
    const struct inventory *present = shard_catalogue_inventory(server->catalogue, &is_whole);
    server->refresh_ms = clock_ms();
    begin_page(server, NULL, 0);
    inventory_compare(&server->told, present, add_to_page, server);
    server->said.is_last = is_whole && !server->is_whole;
    if (server->said_count == 0 && !server->said.is_last)
        return;
    if (server->said.is_last)
        log_info("event=whole shards=%u", present->count);
    server->is_whole |= is_whole;
    if (server->said.shard_count > 0 || server->said.is_last)
        say_page(server);
    inventory_done(&server->told);
    for (uint32_t i = 0; i < present->count; i++)
        if (inventory_put(&server->told, &present->items[i]) != OK)
            break;
}

/* ---- who is let in ---- */

static const char revoked[] = "its key is let in no more";

static int is_let_in(const struct shard_server *server, const char *key)
{
    struct key found;
    return server->gate == NULL || gate_find(server->gate, key, &found);
}

/* Who said something before its key was revoked gets nothing more. */
static void refuse_revoked(struct shard_server *server)
{
    if (server->gate == NULL)
        return;
    gate_look(server->gate);
    for (uint32_t i = 0; i < server->peers.count; i++) {
        struct served_peer *peer = server->peers.items[i];
        if (peer->is_gone || is_let_in(server, peer->key))
            continue;
        refuse_stranger(server, &peer->peer, revoked);
        peer->is_gone = 1;
    }
}

/* ---- what workers say ---- */

static void hear_greeting(struct shard_server *server, const struct peer *from,
                          const struct loader_greeting *greeting)
{
    if (greeting->protocol != LOADER_PROTOCOL_VERSION) {
        char why[LOADER_REASON_MAX];
        snprintf(why, sizeof(why), "version %u of the loader protocol is not spoken here, %d is",
                 greeting->protocol, LOADER_PROTOCOL_VERSION);
        refuse_stranger(server, from, why);
        return;
    }
    struct served_peer *peer = served_peers_greet(&server->peers, from, greeting->name);
    if (peer == NULL) {
        refuse_stranger(server, from, "it serves as many workers as it can");
        return;
    }
    snprintf(peer->key, sizeof(peer->key), "%s", endpoint_user(server->endpoint));
    peer->heard_ms = clock_ms();
    read_queue_grant(&peer->queue, greeting->credit_bytes, greeting->credit_records);
    tell_all(server, peer);
}

/* The disk begins to read what will be sent when there is credit for it. */
static void read_ahead(struct open_shard *open, uint32_t index)
{
    struct record record;
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    shard_fault_guard(&open->is_faulty);
    if (shard_read(open->readers[0], index, &record) == OK) {
        uintptr_t first = (uintptr_t)record.bytes & ~(page - 1);
        madvise((void *)first, (uintptr_t)record.bytes + record.length - first, MADV_WILLNEED);
    }
    shard_fault_guard(NULL);
}

static enum status hear_read(struct shard_server *server, struct served_peer *peer,
                             const struct loader_read *read)
{
    enum status status = OK;
    uint32_t *ids = mem_array(read->shard_count, sizeof(*ids));
    struct open_shard **opens = mem_array(read->shard_count, sizeof(struct open_shard *));
    for (uint32_t i = 0; i < read->shard_count; i++) {
        const struct loader_shard *shard = &read->shards[i];
        ids[i] = UINT32_MAX; /* refused when its turn comes */
        if (shard_catalogue_find(server->catalogue, shard->name, shard->content_hash, &ids[i]))
            opens[i] = shard_catalogue_use(server->catalogue, ids[i]);
    }
    for (uint32_t i = 0; i < read->record_count && status == OK; i++) {
        uint32_t which = read->which[i];
        status = read_queue_add(&peer->queue, read->request + i, ids[which], read->records[i]);
        if (status == OK && opens[which] != NULL)
            read_ahead(opens[which], read->records[i]);
    }
    for (uint32_t i = 0; i < read->shard_count; i++)
        if (opens[i] != NULL)
            shard_catalogue_give(server->catalogue, opens[i]);
    mem_free(opens);
    mem_free(ids);
    return status;
}

static enum status hear_peer(struct shard_server *server, struct served_peer *peer,
                             const struct loader_message *message)
{
    const struct loader_request *request = &message->request;
    peer->heard_ms = clock_ms();
    switch (message->kind) {
    case LOADER_READ:
        return hear_read(server, peer, &message->read);
    case LOADER_URGE:
        read_queue_urge(&peer->queue, request->request);
        return OK;
    case LOADER_FORGET:
        read_queue_forget(&peer->queue, request->request, request->request + request->count);
        return OK;
    case LOADER_CREDIT:
        read_queue_grant(&peer->queue, message->credit.bytes, message->credit.records);
        return OK;
    default:
        return fail(ERR_PROTOCOL, "'%s' is not for a worker to say",
                    loader_message_name(message->kind));
    }
}

static void hear_message(struct shard_server *server, const struct peer *from,
                         const struct loader_message *message)
{
    struct served_peer *peer = served_peers_find(&server->peers, from);
    if (!is_let_in(server, endpoint_user(server->endpoint))) {
        refuse_stranger(server, from, revoked);
        if (peer != NULL)
            peer->is_gone = 1;
    } else if (message->kind == LOADER_GREETING) {
        hear_greeting(server, from, &message->greeting);
    } else if (peer == NULL) {
        refuse_stranger(server, from, "a worker greets first");
    } else if (hear_peer(server, peer, message) != OK) {
        refuse_stranger(server, from, fail_message());
        peer->is_gone = 1;
    }
}

/* ERR_IO: the socket is no use any more. */
static enum status hear(struct shard_server *server)
{
    for (int i = 0; i < HEAR_MAX; i++) {
        struct peer from = {0};
        struct loader_message message;
        buf_clear(&server->incoming);
        enum status status = endpoint_receive_bytes(server->endpoint, &from, &server->incoming);
        if (status == ERR_END)
            return OK;
        if (status == ERR_IO)
            return status;
        if (status == OK)
            status =
                loader_message_decode(server->incoming.bytes, server->incoming.length, &message);
        if (status != OK) {
            log_debug("event=message_refused reason=\"%s\"", fail_message());
            continue;
        }
        hear_message(server, &from, &message);
        loader_message_done(&message);
    }
    return OK;
}

/* ---- what they get ---- */

/* One message that is put together for a peer. */
struct answer {
    uint32_t part_count;
    uint32_t bytes;
    int refused_count;
};

static void refuse(struct shard_server *server, struct served_peer *peer, struct queued_read *read,
                   enum loader_refusal_cause cause, const char *why)
{
    char reason[LOADER_REASON_MAX];
    snprintf(reason, sizeof(reason), "%s", why);
    const struct loader_message message = {
        .kind = LOADER_REFUSAL,
        .refusal = {.request = read->request, .cause = cause, .reason = reason}};
    say_or_part(server, peer, &message);
    read_queue_end(&peer->queue, read);
}

/* Copies the next bytes of a record to the staging area; under the guard of its shard. */
static struct loader_part copy_part(struct shard_server *server, const struct answer *answer,
                                    struct queued_read *read, const struct record *record)
{
    uint32_t left = (uint32_t)record->length - read->offset;
    uint32_t room = LOADER_PART_BYTES - answer->bytes;
    struct loader_part part = {.request = read->request,
                               .offset = read->offset,
                               .total = (uint32_t)record->length,
                               .length = left < room ? left : room,
                               .data = server->staging + answer->bytes};
    if (part.length > 0)
        memcpy(part.data, record->bytes + read->offset, part.length);
    if (read->offset == 0)
        read->digest = hash_bytes(record->bytes, record->length);
    part.digest = read->digest;
    return part;
}

/* Puts the next part of a read into the answer, or refuses it. Returns whether there may be more.
 */
static int answer_one(struct shard_server *server, struct served_peer *peer, struct answer *answer,
                      struct queued_read *read)
{
    struct record record;
    struct loader_part part = {0};
    struct open_shard *open = shard_catalogue_use(server->catalogue, read->shard);
    if (open == NULL) {
        answer->refused_count++;
        refuse(server, peer, read, LOADER_REFUSAL_NOT_HELD, "it is not held here any more");
        return 1;
    }
    shard_fault_guard(&open->is_faulty);
    enum status status = shard_read(open->readers[0], read->record, &record);
    /* A record is begun in a message that has room for all of it, or is empty. */
    int is_fitting =
        status == OK && (answer->bytes == 0 || record.length <= LOADER_PART_BYTES - answer->bytes);
    int is_allowed = is_fitting && read_queue_may_send(&peer->queue, read, (uint32_t)record.length);
    if (is_allowed)
        part = copy_part(server, answer, read, &record);
    shard_fault_guard(NULL);
    int is_faulty = atomic_load(&open->is_faulty);
    shard_catalogue_give(server->catalogue, open);
    if (is_faulty || status != OK) {
        answer->refused_count++;
        refuse(server, peer, read, is_faulty ? LOADER_REFUSAL_NOT_HELD : LOADER_REFUSAL_BAD_RECORD,
               is_faulty ? "some of its bytes are gone" : fail_message());
        return 1;
    }
    if (!is_allowed)
        return 0;
    server->parts[answer->part_count++] = part;
    answer->bytes += part.length;
    peer->records_sent += part.offset == 0;
    read_queue_sent(&peer->queue, read, part.length, part.total);
    return answer->part_count < LOADER_PARTS_MAX && answer->bytes < LOADER_PART_BYTES;
}

/* One message for this worker, as far as it has credit; returns whether there was one. */
static int answer_peer(struct shard_server *server, struct served_peer *peer)
{
    struct answer answer = {0};
    struct queued_read *read;
    while (!peer->is_gone && answer.refused_count < REFUSED_AT_ONCE &&
           (read = read_queue_next(&peer->queue)) != NULL) {
        if (!answer_one(server, peer, &answer, read))
            break;
    }
    if (answer.part_count == 0)
        return answer.refused_count > 0;
    const struct loader_message message = {
        .kind = LOADER_RECORDS,
        .records = {.part_count = answer.part_count, .parts = server->parts}};
    say_or_part(server, peer, &message);
    peer->bytes_sent += answer.bytes;
    return 1;
}

static int answer_all(struct shard_server *server)
{
    int is_busy = 0;
    for (uint32_t i = 0; i < server->peers.count; i++)
        if (!server->peers.items[i]->is_gone)
            is_busy |= answer_peer(server, server->peers.items[i]);
    return is_busy;
}

/* ---- life ---- */

static enum status serve(struct shard_server *server)
{
    int is_busy = 0;
    for (;;) {
        zmq_pollitem_t items[] = {
            {.socket = endpoint_socket(server->endpoint), .events = ZMQ_POLLIN},
            {.fd = server->signal_fd, .events = ZMQ_POLLIN},
        };
        int64_t left_ms = server->refresh_ms + REFRESH_MS - clock_ms();
        zmq_poll(items, 2, is_busy || left_ms < 0 ? 0 : (long)left_ms);
        if (items[1].revents != 0)
            return OK;
        TRY(hear(server));
        if (clock_ms() >= server->refresh_ms + REFRESH_MS) {
            refresh(server);
            refuse_revoked(server);
        }
        is_busy = answer_all(server);
        served_peers_sweep(&server->peers, clock_ms());
    }
}

static enum status open_signals(int *ret_fd)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) != 0)
        return fail(ERR_IO, "sigprocmask: %s", strerror(errno));
    *ret_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (*ret_fd < 0)
        return fail(ERR_IO, "signalfd: %s", strerror(errno));
    return OK;
}

static enum status open_gate(const struct shard_server_options *options, struct gate **ret_gate)
{
    if (options->keys == NULL && endpoint_is_local(options->listen))
        return OK;
    if (options->keys == NULL)
        return fail(ERR_INPUT,
                    "address '%s' can be reached from other hosts, and this loader has no keys to "
                    "tell friends from strangers: make some with 'seer key init --keys DIR' and "
                    "give --keys DIR, or use tcp://127.0.0.1:PORT or ipc://PATH",
                    options->listen);
    TRY(gate_open(options->keys, KEY_LOADER, ret_gate));
    if (*ret_gate == NULL)
        return fail(ERR_INPUT, "'%s' has no loader.key: 'seer key init --keys %s' makes one",
                    options->keys, options->keys);
    return OK;
}

static void done(struct shard_server *server)
{
    served_peers_done(&server->peers, "this loader ends");
    endpoint_close(server->endpoint);
    gate_close(server->gate);
    shard_catalogue_stop(server->catalogue);
    inventory_done(&server->told);
    if (server->signal_fd >= 0)
        close(server->signal_fd);
    buf_done(&server->incoming);
    buf_done(&server->outgoing);
    mem_free(server->staging);
    mem_free(server->parts);
    mem_free(server->page);
}

enum status shard_server_run(const struct shard_server_options *options)
{
    enum status status = OK;
    struct shard_server server = {.signal_fd = -1};
    buf_init(&server.incoming, LOADER_MESSAGE_BYTES_MAX);
    buf_init(&server.outgoing, LOADER_MESSAGE_BYTES_MAX);
    server.staging = mem_alloc(LOADER_PART_BYTES);
    server.parts = mem_array(LOADER_PARTS_MAX, sizeof(*server.parts));
    server.page = mem_array(LOADER_PAGE_SHARDS, sizeof(*server.page));
    shard_fault_take();
    TRY_OUT(open_signals(&server.signal_fd));
    TRY_OUT(open_gate(options, &server.gate));
    TRY_OUT(shard_catalogue_start(options->stores, options->store_count, &server.catalogue));
    TRY_OUT(endpoint_bind(options->listen, server.gate, &server.endpoint));
    log_info("event=listening address=%s stores=%d key=\"%s\"", endpoint_address(server.endpoint),
             options->store_count, server.gate != NULL ? gate_server_key(server.gate)->public : "");
    status = serve(&server);
    if (status == OK)
        log_info("event=ending reason=\"signal\"");
out:
    done(&server);
    return status;
}
