/* collective.h - sums and copies among the members of one generation.
 *
 * A collective is formed for one generation, works until the generation ends, and is then
 * destroyed; it never outlives a death. All members call the same operations in the same order.
 * Data must lie in the region given to collective_form. Every wait has a deadline. A failed
 * operation (a peer died: ERR_UNREACHABLE; too late: ERR_TIMEOUT; told to stop: ERR_STALE) leaves
 * the data undefined and the collective good for nothing but destroy. Results are bit-identical on
 * every member.
 *
 * Engines: self (one member, no library), mpi (Open MPI in a disposable helper process, so no
 * process that holds parameters holds MPI state; memory of a GPU goes through a copy on the host),
 * nccl (GPU). One thread calls, except collective_abort; the one that forms may hand it to another.
 * One collective may work while the next one of the same member is formed, in the same region:
 * forming touches no data. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_COLLECTIVE_H
#define WORKER_COLLECTIVE_COLLECTIVE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

enum collective_engine { COLLECTIVE_SELF, COLLECTIVE_MPI, COLLECTIVE_NCCL };
/* How floats travel: as they are, or rounded to bf16, half as long. */
enum collective_wire { WIRE_FP32, WIRE_BF16 };
/* Of what members meet by: an ncclUniqueId. */
enum { COLLECTIVE_ID_BYTES = 128 };
/* So many times over the members are cut into subgroups. NO_COLOR: alone. */
enum { COLLECTIVE_CUTS = 2, COLLECTIVE_NO_COLOR = -1 };
/* What is summed or compared, and of what type. GRADIENTS: floats that may be rounded on the wire.
 */
enum reduce_op { REDUCE_SUM, REDUCE_MAX, REDUCE_SUM_DOUBLE, REDUCE_SUM_GRADIENTS };

/* How far a collective is, for watchers in other threads; may outlive it. All members of a
 * generation count the same operations: whoever is behind holds up the others. */
struct collective_pulse {
    _Atomic uint64_t operations;     /* called so far in this generation */
    _Atomic int64_t helper_still_ms; /* mpi: the helper has given no sign of life for so long */
};

struct device;

/* What the members of a generation must agree on, and this member's place. */
struct collective_group {
    enum collective_engine engine;
    uint64_t run;
    uint64_t generation;
    uint64_t nonce; /* fences: a helper of another attempt is refused */
    int rank, size;
    void *region; /* memory that operations work on, in place */
    size_t region_bytes;
    struct device *device; /* whose memory it is; NULL: the host's own */
    int region_fd;         /* its memfd, for the helper; -1: none, the helper gets a copy */
    int listen_fd; /* mpi: listening Unix socket on which the helper calls; see helper_door */
    int cancel_fd; /* mpi: once readable, as collective_abort, while forming too; 0: none */
    int64_t form_timeout_ms;
    int64_t timeout_ms;             /* deadline of each operation once formed */
    int64_t abort_timeout_ms;       /* nccl: an abort that takes longer ends the process */
    enum collective_wire wire;      /* nccl: of gradients */
    void *wire_memory;              /* nccl, WIRE_BF16: of the device, borrowed: 2 bytes for each */
    size_t wire_bytes;              /* gradient of a step, and COLLECTIVE_WIRE_SPARE */
    struct collective_pulse *pulse; /* borrowed; NULL: nobody watches */
    /* nccl: how members meet, while they form. Rank 0 makes an id and publishes it; the others
     * await it (ERR_TIMEOUT, ERR_STALE). */
    void (*publish)(void *errand, const uint8_t id[COLLECTIVE_ID_BYTES]);
    enum status (*await)(void *errand, int64_t deadline_ms, uint8_t ret_id[COLLECTIVE_ID_BYTES]);
    void *errand;
};

struct collective;

/* Blocks until all members are there, at most form_timeout_ms. */
enum status collective_form(const struct collective_group *group,
                            struct collective **ret_collective);
/* Ends the helper or communicator; never blocks for long; NULL is fine. */
void collective_destroy(struct collective *collective);
/* From any thread: makes present and future operations fail with ERR_STALE. */
void collective_abort(struct collective *collective);

int collective_rank(const struct collective *collective);
int collective_size(const struct collective *collective);
uint64_t collective_generation(const struct collective *collective);
/* 1: operations do nothing, since every sum is there already (engine self). */
int collective_is_alone(const struct collective *collective);
/* Time that the caller spent in the operations below, waiting for others. */
int64_t collective_waited_us(const struct collective *collective);

/* In place over count values of the op's type. What the device is given afterwards finds the sum;
 * with engine nccl the host need not have waited for it, and a failure is told by a later call. */
enum status collective_allreduce(struct collective *collective, void *data, size_t count,
                                 enum reduce_op op);
size_t reduce_op_bytes(enum reduce_op op); /* of one value */
/* Cuts the members into subgroups: in cut i this one is together with all of the same colors[i].
 * All members call it, with the same key (not 0) and nothing under way; it does nothing if the key
 * is the last one's. What was cut before is void. Blocks. */
enum status collective_split(struct collective *collective, uint64_t key,
                             const int colors[COLLECTIVE_CUTS]);
/* As collective_allreduce, within this member's subgroups: parts[i] in that of cut i, count 0 where
 * it is alone. All members call it, with the same op, whatever they have. */
struct collective_part {
    void *data;
    size_t count;
};
enum status collective_allreduce_within(struct collective *collective,
                                        const struct collective_part parts[COLLECTIVE_CUTS],
                                        enum reduce_op op);
/* In the background; data belongs to the collective until waited for. At most
 * COLLECTIVE_PENDING_MAX at once; tickets complete in order. */
enum { COLLECTIVE_PENDING_MAX = 256 };
/* Each begins at a multiple of so many bytes on the wire. */
enum {
    COLLECTIVE_WIRE_ALIGNMENT = 256,
    COLLECTIVE_WIRE_SPARE = COLLECTIVE_PENDING_MAX * COLLECTIVE_WIRE_ALIGNMENT
};
enum status collective_allreduce_start(struct collective *collective, void *data, size_t count,
                                       enum reduce_op op, uint64_t *ret_ticket);
/* Blocks until that ticket and all before it are done. */
enum status collective_wait(struct collective *collective, uint64_t ticket);
/* bytes from root's data to everybody's. Blocks. */
enum status collective_broadcast(struct collective *collective, void *data, size_t bytes, int root);
/* Member r's bytes land at data + r*bytes on everybody; own part must be there before. Blocks. */
enum status collective_allgather(struct collective *collective, void *data, size_t bytes);

#endif
