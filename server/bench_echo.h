/* bench_echo.h - bare sockets that answer, to hold a benchmark against: what a round trip takes on
 * this host when nobody decides or writes anything.
 *
 * A process with a ROUTER waits for one message of each of `count` DEALERs, then answers all of
 * them: the traffic of votes and a verdict, of their sizes, over loopback. One thread; start it
 * before the caller has any others, since it forks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_BENCH_ECHO_H
#define SERVER_BENCH_ECHO_H

#include <stdint.h>
#include <sys/types.h>

#include "common/status.h"

struct bench_echo {
    pid_t process; /* 0 = none */
    char address[64];
    void *context;
    uint32_t count;
    void **sockets; /* [count] DEALER */
};

/* Forks. ERR_IO. */
enum status bench_echo_start(struct bench_echo *ret_echo);
/* Connects, and returns when all have been answered once. ERR_IO; ERR_UNREACHABLE: no answer. */
enum status bench_echo_connect(struct bench_echo *echo, uint32_t count);
/* All speak, all are answered. ERR_UNREACHABLE: not within seconds. */
enum status bench_echo_round(struct bench_echo *echo);
/* Kills it. A zeroed one is fine. */
void bench_echo_stop(struct bench_echo *echo);

#endif
