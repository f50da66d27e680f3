/* helper.h - how a worker and the helper of a generation find and check each other.
 *
 * The worker listens on an abstract Unix socket for its whole life; the server gives the address to
 * mpirun. The helper calls and says who it is (struct helper_identity); the worker answers with its
 * memory and the order ring (file descriptors, SCM_RIGHTS) or refuses. The open connection then is
 * the life line: whoever sees it close treats the other as dead. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_HELPER_H
#define WORKER_COLLECTIVE_HELPER_H

#include <stddef.h>
#include <stdint.h>

#include "common/helper_command.h"
#include "common/status.h"

struct helper_identity {
    uint64_t run, generation, nonce;
    int32_t rank, size;
};

/* Listens at a random address, written as "@name". The caller closes the descriptor. */
enum status helper_listen(int *ret_fd, char address[HELPER_ADDRESS_BYTES]);

/* Worker: accepts the one helper whose identity is as expected, refusing all others, until
 * deadline_ms (clock_ms; ERR_TIMEOUT) or until cancel_fd (0: none) is readable (ERR_STALE), and
 * hands it both descriptors. */
enum status helper_accept(int listen_fd, int cancel_fd, const struct helper_identity *expected,
                          int region_fd, int ring_fd, int64_t deadline_ms, int *ret_socket);

/* Worker: ends the helper and waits until it is gone, so that it writes to our memory no more. */
void helper_end(int socket);

/* Helper: calls the worker at address. ERR_STALE: refused. The caller closes all three. */
enum status helper_call(const char *address, const struct helper_identity *identity,
                        int *ret_socket, int *ret_region_fd, int *ret_ring_fd);

#endif
