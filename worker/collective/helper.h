/* helper.h - how a worker and the helper of a generation find and check each other.
 *
 * The worker listens on a Unix socket for its whole life; the server gives the address to mpirun.
 * The helper calls and says who it is (struct helper_identity); the worker answers with its memory
 * and the order ring (file descriptors, SCM_RIGHTS) or refuses. The open connection then is the
 * life line: whoever sees it close treats the other as dead.
 *
 * The address is that of the socket's file in /proc, which has no other name: it leads into other
 * network and mount namespaces of the host, where an abstract address ends, lets in whom the kernel
 * lets look at the worker's descriptors (its own user, with no fewer rights than it has:
 * ptrace(2)), and leaves nothing behind, however the worker ends. Both must see the same processes.
 */
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

/* Where a worker's helpers call. */
struct helper_door {
    int listen_fd;                      /* -1: closed */
    int file_fd;                        /* the socket's file, by O_PATH: what address leads to */
    char address[HELPER_ADDRESS_BYTES]; /* good while both are open in the process that opened it */
};

/* Made for the calling process: a child's address would be another. ERR_IO. */
enum status helper_door_open(struct helper_door *ret_door);
void helper_door_close(struct helper_door *door); /* closed is fine */

/* Worker: accepts the one helper whose identity is as expected, refusing all others, until
 * deadline_ms (clock_ms; ERR_TIMEOUT) or until cancel_fd (0: none) is readable (ERR_STALE), and
 * hands it both descriptors. */
enum status helper_accept(int listen_fd, int cancel_fd, const struct helper_identity *expected,
                          int region_fd, int ring_fd, int64_t deadline_ms, int *ret_socket);

/* Worker: ends the helper and waits until it is gone, so that it writes to our memory no more. */
void helper_end(int socket);

/* Helper: calls the worker at address. ERR_INPUT: that is no address of a door. ERR_STALE: refused.
 * The caller closes all three. */
enum status helper_call(const char *address, const struct helper_identity *identity,
                        int *ret_socket, int *ret_region_fd, int *ret_ring_fd);

#endif
