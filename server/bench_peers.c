/* bench_peers.c - many DEALER sockets behind one epoll. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/bench_peers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/host.h"
#include "common/mem.h"
#include "proto/message.h"

enum {
    GREET_US = 20000,    /* between two looks whether all are connected */
    QUEUE_MESSAGES = 256 /* as a real worker's */
};

static enum status open_peer(struct bench_peers *peers, uint32_t index, const char *address)
{
    struct bench_peer *peer = &peers->peers[index];
    int linger = 0, queue = QUEUE_MESSAGES, immediate = 1, fd = -1;
    size_t length = sizeof(fd);
    peer->worker = host_entropy() | 1;
    peer->socket = zmq_socket(peers->context, ZMQ_DEALER);
    if (peer->socket == NULL ||
        zmq_setsockopt(peer->socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        zmq_setsockopt(peer->socket, ZMQ_SNDHWM, &queue, sizeof(queue)) != 0 ||
        zmq_setsockopt(peer->socket, ZMQ_RCVHWM, &queue, sizeof(queue)) != 0 ||
        zmq_setsockopt(peer->socket, ZMQ_IMMEDIATE, &immediate, sizeof(immediate)) != 0 ||
        zmq_connect(peer->socket, address) != 0 ||
        zmq_getsockopt(peer->socket, ZMQ_FD, &fd, &length) != 0)
        return fail(ERR_IO, "connection %u to '%s': %s", index, address, zmq_strerror(errno));
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    if (epoll_ctl(peers->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        return fail(ERR_IO, "cannot wait for connection %u: %s", index, strerror(errno));
    return OK;
}

enum status bench_peers_open(const char *address, uint32_t count, struct bench_peers *ret_peers)
{
    enum status status = OK;
    struct bench_peers peers = {
        .context = zmq_ctx_new(),
        .epoll = epoll_create1(EPOLL_CLOEXEC),
        .peers = mem_array(count, sizeof(*peers.peers)),
        .latency_us = mem_array(count, sizeof(*peers.latency_us)),
        .beat_us = clock_us(),
    };
    zmq_ctx_set(peers.context, ZMQ_MAX_SOCKETS, BENCH_PEERS_MAX + 1);
    for (; peers.count < count && status == OK; peers.count++)
        status = open_peer(&peers, peers.count, address);
    if (status != OK) {
        bench_peers_close(&peers);
        return status;
    }
    *ret_peers = peers;
    return OK;
}

void bench_peers_close(struct bench_peers *peers)
{
    for (uint32_t i = 0; i < peers->count; i++)
        if (peers->peers[i].socket != NULL)
            zmq_close(peers->peers[i].socket);
    if (peers->context != NULL) {
        close(peers->epoll);
        zmq_ctx_term(peers->context);
    }
    mem_free(peers->peers);
    mem_free(peers->latency_us);
    *peers = (struct bench_peers){0};
}

/* Fills in the header. 0: the socket does not take it now. */
static int say(struct bench_peers *peers, struct bench_peer *peer, struct message *message)
{
    struct buf packed;
    message->header = (struct message_header){
        .run = peers->run,
        .epoch = peers->epoch,
        .lineage = peer->lineage,
        .generation = peer->generation,
        .step = peer->step,
        .worker = peer->worker,
        .sequence = ++peer->sequence,
    };
    buf_init(&packed, MESSAGE_BYTES_MAX);
    int is_taken = message_encode(message, &packed) == OK &&
                   zmq_send(peer->socket, packed.bytes, packed.length, ZMQ_DONTWAIT) >= 0;
    buf_done(&packed);
    return is_taken;
}

static void greet(struct bench_peers *peers, struct bench_peer *peer)
{
    char name[32];
    snprintf(name, sizeof(name), "peer-%d", (int)(peer - peers->peers));
    struct message message = {
        .kind = MESSAGE_HELLO,
        .hello = {.protocol = PROTOCOL_VERSION,
                  .name = name,
                  .host = "bench",
                  .version = EVERSEER_VERSION,
                  .device = "none",
                  .helper_address = "",
                  .has_state = peer->generation != 0},
    };
    peer->has_greeted = say(peers, peer, &message);
}

static void beat(struct bench_peers *peers, struct bench_peer *peer)
{
    if (!peer->has_greeted)
        return;
    struct message message = {
        .kind = MESSAGE_HEARTBEAT,
        .heartbeat = {.phase = PHASE_FORWARD, .progress = peer->sequence, .is_warm = 1},
    };
    if (say(peers, peer, &message))
        peers->heartbeats++;
    else
        peers->heartbeats_lost++;
}

/* Nothing is to be prepared: it will come by Regroup. */
static void say_prepared(struct bench_peers *peers, struct bench_peer *peer,
                         const struct message *message)
{
    struct message prepared = {.kind = MESSAGE_PREPARED,
                               .prepared = {.nonce = message->prepare.nonce}};
    uint64_t present = peer->generation;
    peer->generation = message->header.generation;
    say(peers, peer, &prepared);
    peer->generation = present;
}

static void form(struct bench_peers *peers, struct bench_peer *peer, const struct message *message)
{
    struct message formed = {.kind = MESSAGE_FORMED, .formed = {.digest = 1}};
    peer->generation = message->header.generation;
    peer->lineage = message->header.lineage;
    peer->step = peer->planned = message->header.step;
    peers->regroups++;
    say(peers, peer, &formed);
}

static enum status hear(struct bench_peers *peers, struct bench_peer *peer,
                        const struct message *message)
{
    const struct message_header *header = &message->header;
    if (message->kind == MESSAGE_REJECT && message->reject.is_final)
        return fail(ERR_PROTOCOL, "the server has sent a worker away: %s", message->reject.reason);
    if (message->kind == MESSAGE_REJECT) {
        peers->reconnects++;
        greet(peers, peer);
    } else if (message->kind == MESSAGE_WELCOME) {
        peers->run = header->run;
        peers->epoch = header->epoch;
    } else if (message->kind == MESSAGE_PREPARE) {
        say_prepared(peers, peer, message);
    } else if (message->kind == MESSAGE_REGROUP && header->generation > peer->generation) {
        form(peers, peer, message);
    } else if (message->kind == MESSAGE_PLAN && header->generation == peer->generation &&
               header->step == peer->planned) {
        peer->planned++;
        peer->slots = message->plan.slot_count;
    } else if (message->kind == MESSAGE_VERDICT && header->generation == peer->generation &&
               header->step == peer->step) {
        peers->latency_us[peer - peers->peers] = clock_us() - peers->voted_us;
        peers->awaited -= peers->awaited > 0;
        peer->step++;
    }
    return OK;
}

/* Everything that is there for one of them. */
static enum status hear_all(struct bench_peers *peers, struct bench_peer *peer)
{
    zmq_msg_t frame;
    enum status status = OK;
    zmq_msg_init(&frame);
    while (status == OK && zmq_msg_recv(&frame, peer->socket, ZMQ_DONTWAIT) >= 0) {
        struct message message = {0};
        status = message_decode(zmq_msg_data(&frame), zmq_msg_size(&frame), &message);
        if (status == OK)
            status = hear(peers, peer, &message);
        message_done(&message);
    }
    zmq_msg_close(&frame);
    return status;
}

/* Those whose time has come. A send may take in what has arrived, and then the file descriptor does
 * not tell of it any more: so whoever speaks listens. */
static enum status beat_all(struct bench_peers *peers, int64_t now_us)
{
    for (; peers->beat_us <= now_us; peers->beat_us += BENCH_HEARTBEAT_MS * 1000 / peers->count) {
        struct bench_peer *peer = &peers->peers[peers->beat_next++ % peers->count];
        beat(peers, peer);
        TRY(hear_all(peers, peer));
    }
    return OK;
}

static int is_connected(const struct bench_peer *peer)
{
    int events = 0;
    size_t length = sizeof(events);
    zmq_getsockopt(peer->socket, ZMQ_EVENTS, &events, &length);
    return (events & ZMQ_POLLOUT) != 0;
}

/* All at once, when the last one is connected: so one generation takes them all. */
static enum status greet_all(struct bench_peers *peers, int64_t now_us, int64_t *greet_us)
{
    if (*greet_us > now_us)
        return OK;
    *greet_us = now_us + GREET_US;
    for (uint32_t i = 0; i < peers->count; i++)
        if (!is_connected(&peers->peers[i]))
            return OK;
    *greet_us = INT64_MAX;
    for (uint32_t i = 0; i < peers->count; i++) {
        if (!peers->peers[i].has_greeted)
            greet(peers, &peers->peers[i]);
        TRY(hear_all(peers, &peers->peers[i]));
    }
    return OK;
}

/* Sleeps until `soon_us`, or a millisecond later, but never beyond `until_us`, before which less
 * than a millisecond is spent looking. */
static enum status await_messages(struct bench_peers *peers, int64_t soon_us, int64_t until_us)
{
    struct epoll_event events[64];
    int64_t now_us = clock_us();
    int64_t soon_ms = soon_us > now_us ? (soon_us - now_us) / 1000 + 1 : 1;
    int64_t until_ms = until_us > now_us ? (until_us - now_us) / 1000 : 0;
    int count = epoll_wait(peers->epoll, events, sizeof(events) / sizeof(events[0]),
                           (int)(soon_ms < until_ms ? soon_ms : until_ms));
    for (int i = 0; i < count; i++)
        TRY(hear_all(peers, &peers->peers[events[i].data.u32]));
    return OK;
}

enum status bench_peers_live(struct bench_peers *peers, int64_t until_us,
                             int (*is_done)(const struct bench_peers *peers))
{
    int64_t greet_us = 0;
    for (;;) {
        int64_t now_us = clock_us();
        TRY(greet_all(peers, now_us, &greet_us));
        TRY(beat_all(peers, now_us));
        if (now_us >= until_us || (is_done != NULL && is_done(peers)))
            return OK; /* asked after the beats, which hear too */
        TRY(await_messages(peers, peers->beat_us < greet_us ? peers->beat_us : greet_us, until_us));
    }
}

enum status bench_peers_vote(struct bench_peers *peers)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        struct bench_peer *peer = &peers->peers[i];
        struct message message = {
            .kind = MESSAGE_READY,
            .ready = {.is_finite = 1,
                      .loss = 3.0,
                      .grad_norm = 1.0,
                      .images = peer->slots,
                      .digest = peer->step + 1,
                      .compute_us = 1000 * (int64_t)peer->slots},
        };
        if (!say(peers, peer, &message))
            return fail(ERR_UNREACHABLE, "a connection does not take a vote");
    }
    peers->voted_us = clock_us();
    peers->awaited = peers->count;
    for (uint32_t i = 0; i < peers->count; i++)
        TRY(hear_all(peers, &peers->peers[i]));
    return OK;
}

int bench_peers_are_planned(const struct bench_peers *peers)
{
    for (uint32_t i = 0; i < peers->count; i++) {
        const struct bench_peer *peer = &peers->peers[i];
        if (peer->generation != peers->peers[0].generation || peer->planned <= peer->step)
            return 0;
    }
    return 1;
}

int bench_peers_are_told(const struct bench_peers *peers)
{
    return peers->awaited == 0;
}
