/* bench_server.h - a real server for benchmarks: in a process of its own, with a folder of its own.
 *
 * What is measured is the program that people run: its loop, its sockets, its journal on the disk
 * that holds the folder. One thread; start it before the caller has any others, since it forks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_BENCH_SERVER_H
#define SERVER_BENCH_SERVER_H

#include <stdint.h>
#include <sys/types.h>

#include "common/config.h"
#include "common/status.h"
#include "server/run_address.h"

struct bench_server {
    char *directory; /* run and store; owned */
    pid_t process;   /* 0 = none */
    struct run_address address;
};

/* A run of so many workers, each with one slot of a step, that takes no snapshots, keeps no helpers
 * and never ends. */
void bench_server_config(int64_t workers, struct config *ret_config);
/* Makes a new folder in `parent` and returns when the server listens, after tenths of a second.
 * config: gets store and addresses. ERR_IO; ERR_UNREACHABLE: the server did not come up, and has
 * said why. */
enum status bench_server_start(const char *parent, struct config *config,
                               struct bench_server *ret_server);
/* CPU time that all its threads have used. */
int64_t bench_server_cpu_us(const struct bench_server *server);
/* Kills it and removes its folder. A zeroed one is fine. */
void bench_server_stop(struct bench_server *server);

#endif
