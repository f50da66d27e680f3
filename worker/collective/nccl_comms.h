/* nccl_comms.h - the NCCL communicators of one generation: their forming, calls into them, their
 * end.
 *
 * Two for all members, since small sums must not wait for buckets that were started before:
 * `world`, and `buckets`, which is split off it; and this member's subgroup of each cut, while
 * there are cuts. None blocks; what is under way is asked about until a deadline. NCCL does not see
 * that a member has died: whoever is told so (cancel_fd, stop) makes the watcher abort all of them,
 * which also ends what the GPU waits for. An abort itself may hang: then the process ends, since
 * nothing else frees the GPU, and its supervisor starts it again. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_NCCL_COMMS_H
#define WORKER_COLLECTIVE_NCCL_COMMS_H

#include <nccl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/thread.h"
#include "worker/collective/collective.h"

enum { NCCL_WORLD, NCCL_BUCKETS, NCCL_CUTS, NCCL_COMMS = NCCL_CUTS + COLLECTIVE_CUTS };

struct nccl_comms {
    uint64_t generation;
    int gpu;
    int cancel_fd, stop_fd;
    int64_t abort_timeout_ms;
    struct thread watcher;
    _Atomic int is_aborted; /* no more calls */
    pthread_mutex_t lock;   /* guards the communicators: one call at a time, none after the end */
    ncclComm_t comms[NCCL_COMMS]; /* NULL: none, or in the making */
    pthread_mutex_t end_lock;     /* guards has_ended */
    pthread_cond_t ended;
    int has_ended; /* the watcher's abort came back */
};

/* What NCCL is asked to do with `count` values of memory on the GPU. */
enum nccl_kind { NCCL_ALLREDUCE, NCCL_BROADCAST, NCCL_ALLGATHER };
struct nccl_call {
    enum nccl_kind kind;
    int comm; /* NCCL_WORLD, NCCL_BUCKETS or NCCL_CUTS + cut */
    const void *send;
    void *receive;
    size_t count;
    ncclDataType_t type;
    ncclRedOp_t op; /* ALLREDUCE */
    int root;       /* BROADCAST */
};

/* Blocks until all members have formed those for all. Errors as collective_form; then only
 * nccl_comms_end may follow. */
enum status nccl_comms_form(struct nccl_comms *comms, const struct collective_group *group,
                            int gpu);
/* Makes this member's subgroup of a cut, in place of the last one, which must be idle. Blocks until
 * all members do; COLLECTIVE_NO_COLOR: it has none. Errors as nccl_comms_call. */
enum status nccl_comms_split(struct nccl_comms *comms, int cut, int color, int rank,
                             int64_t deadline_ms);
/* Puts one operation into the stream. ERR_STALE: aborted; ERR_UNREACHABLE: NCCL failed;
 * ERR_TIMEOUT: it did not accept it before deadline_ms (clock_ms). */
enum status nccl_comms_call(struct nccl_comms *comms, const struct nccl_call *call,
                            cudaStream_t stream, int64_t deadline_ms);
/* What NCCL says of operations accepted before. ERR_STALE, ERR_UNREACHABLE. */
enum status nccl_comms_check(struct nccl_comms *comms);
/* Waits a moment, longer each time (*nap_us, first 0), or until cancelled. */
void nccl_comms_nap(const struct nccl_comms *comms, int64_t *nap_us);
/* Any thread: no more calls, and the watcher aborts. */
void nccl_comms_stop(struct nccl_comms *comms);
/* Aborts, unless that is done, and waits for it. Ends the process if it takes too long. */
void nccl_comms_end(struct nccl_comms *comms);

#endif
