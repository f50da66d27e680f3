/* bench_peers.h - workers that compute nothing, many in one thread: the other side of a benchmark
 * of the server.
 *
 * Each has a connection of its own and keeps the protocol: Hello, Formed, heartbeats, Ready when
 * the caller says so. All vote at once, as members do that come out of one all-reduce. The caller
 * decides when by calling bench_peers_live until something is true. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_BENCH_PEERS_H
#define SERVER_BENCH_PEERS_H

#include <stdint.h>

#include "common/status.h"

struct bench_peer {
    void *socket; /* DEALER */
    uint64_t worker, sequence;
    uint64_t generation; /* 0 = in none */
    uint64_t step;       /* committed steps */
    uint64_t planned;    /* steps below are planned for it */
    uint32_t lineage, slots;
    int has_greeted;
};

struct bench_peers {
    void *context;
    int epoll;
    uint32_t count;
    struct bench_peer *peers; /* [count] */
    uint64_t run, epoch;
    int64_t beat_us; /* when the next heartbeat is due: one of all of them in turn */
    uint32_t beat_next;
    int64_t voted_us; /* when the last one of them had voted */
    /* For the figures. */
    uint64_t heartbeats, heartbeats_lost; /* taken by the connections; not taken */
    uint64_t regroups;                    /* Regroup messages: count for each generation */
    uint64_t reconnects;                  /* the server did not know a connection any more */
    uint32_t awaited;    /* verdicts on the present step that have not been heard yet */
    int64_t *latency_us; /* [count] of the last step: from the last vote to each verdict */
};

enum { BENCH_PEERS_MAX = 1024, BENCH_HEARTBEAT_MS = 100 };

/* Connects; nobody has said anything yet. ERR_IO: too few file descriptors, mostly. */
enum status bench_peers_open(const char *address, uint32_t count, struct bench_peers *ret_peers);
void bench_peers_close(struct bench_peers *peers); /* a zeroed one is fine */
/* Greets, answers, beats until `until_us` (clock_us) or until is_done says so (NULL: never). The
 * time of the return is exact to some microseconds. ERR_PROTOCOL: the server has sent one away. */
enum status bench_peers_live(struct bench_peers *peers, int64_t until_us,
                             int (*is_done)(const struct bench_peers *peers));
/* Every one says Ready for its present step, which must be planned. */
enum status bench_peers_vote(struct bench_peers *peers);

/* For is_done: the present step is planned for all, in one generation. */
int bench_peers_are_planned(const struct bench_peers *peers);
/* The verdict of the step that was voted on has reached all. */
int bench_peers_are_told(const struct bench_peers *peers);

#endif
