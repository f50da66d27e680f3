/* mpi.c - the worker's half of the mpi engine: orders in, completions out, no MPI in sight.
 *
 * Operations are cut into pieces that the helper (helper_main.c) runs in place on the worker's
 * memory. A thread watches the connection to the helper: when any member or helper dies, mpirun
 * kills all helpers, the connection closes, and every wait ends. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/thread.h"
#include "worker/collective/engine.h"
#include "worker/collective/helper.h"
#include "worker/collective/ring.h"

_Static_assert((int)RING_SUBGROUPS == (int)COLLECTIVE_CUTS, "a subgroup for each cut");

struct mpi {
    struct collective base;
    struct ring *ring;           /* shared with the helper */
    int socket;                  /* life line to the helper, -1 before it called */
    int cancel_fd;               /* borrowed; 0: none */
    struct helper_launch launch; /* whose scratch folder is to go */
    int64_t timeout_ms;
    uint64_t settled;   /* all orders below are known to be done */
    enum status broken; /* of the first failed wait: all later ones fail alike */
    struct thread watcher;
    _Atomic int is_gone;    /* the helper's end of the life line closed */
    _Atomic int is_aborted; /* collective_abort, or cancel_fd */
};

/* Asleep or at work, a helper turns many times in this time. */
enum { LOOK_MS = 200 };

/* Has the helper turned since the last look? Counted in looks: if this process itself was stopped
 * meanwhile, that is nothing against the helper. */
static void watch_helper(struct mpi *mpi, uint64_t *turns)
{
    uint64_t now = atomic_load(&mpi->ring->turns);
    int is_still = now == *turns && atomic_load(&mpi->ring->is_formed) != 0;
    *turns = now;
    if (mpi->base.pulse == NULL)
        return;
    if (is_still)
        atomic_fetch_add(&mpi->base.pulse->helper_still_ms, LOOK_MS);
    else
        atomic_store(&mpi->base.pulse->helper_still_ms, 0);
}

/* Ends when the helper has gone. Then all of them are going, and their scratch folder with them:
 * the server removes it too, but may itself be gone for good. */
static void watcher_run(void *argument)
{
    struct mpi *mpi = argument;
    uint64_t turns = 0;
    struct pollfd polled[2] = {{.fd = mpi->socket, .events = POLLIN},
                               {.fd = mpi->cancel_fd > 0 ? mpi->cancel_fd : -1, .events = POLLIN}};
    for (;;) {
        int count = poll(polled, 2, LOOK_MS);
        if (count < 0) {
            CHECK(errno == EINTR);
            continue;
        }
        if (count == 0) {
            watch_helper(mpi, &turns);
            continue;
        }
        if (polled[1].revents != 0) {
            atomic_store(&mpi->is_aborted, 1);
            polled[1].fd = -1;
        }
        if (polled[0].revents != 0) /* a helper never writes: end of file */
            atomic_store(&mpi->is_gone, 1);
        bell_ring(&mpi->ring->worker_bell);
        if (polled[0].revents != 0) {
            helper_clean(&mpi->launch);
            return;
        }
    }
}

/* Sleeps until the order is done; sequence UINT64_MAX means "until formed". */
static enum status mpi_await(struct mpi *mpi, uint64_t sequence, int64_t deadline_ms)
{
    struct ring *ring = mpi->ring;
    int is_forming = sequence == UINT64_MAX;
    for (;;) {
        uint32_t seen = bell_count(&ring->worker_bell);
        if (is_forming ? atomic_load(&ring->is_formed) != 0 : ring_is_done(ring, sequence))
            return OK;
        int64_t left_ms = deadline_ms - clock_ms();
        if (mpi->broken != OK)
            return fail(mpi->broken, "collective of generation %" PRIu64 " is broken",
                        mpi->launch.generation);
        if (atomic_load(&mpi->is_aborted))
            return fail(mpi->broken = ERR_STALE, "collective of generation %" PRIu64 " aborted",
                        mpi->launch.generation);
        if (atomic_load(&mpi->is_gone))
            return fail(mpi->broken = ERR_UNREACHABLE,
                        "a member of generation %" PRIu64 " or its helper died",
                        mpi->launch.generation);
        if (left_ms <= 0)
            return fail(mpi->broken = ERR_TIMEOUT,
                        "collective of generation %" PRIu64 ": not %s before the deadline",
                        mpi->launch.generation, is_forming ? "formed" : "done");
        bell_wait(&ring->worker_bell, seen, left_ms * 1000);
    }
}

static enum status mpi_check(struct mpi *mpi)
{
    if (mpi->broken == OK && atomic_load(&mpi->is_aborted))
        mpi->broken = ERR_STALE;
    return mpi->broken == OK ? OK
                             : fail(mpi->broken, "collective of generation %" PRIu64 " ended",
                                    mpi->launch.generation);
}

/* One order of at most RING_PIECE_BYTES; waits while the ring is full. */
static enum status mpi_post(struct mpi *mpi, const struct ring_command *order,
                            uint64_t *ret_sequence)
{
    struct ring *ring = mpi->ring;
    uint64_t next = atomic_load(&ring->posted);
    TRY(mpi_check(mpi));
    if (next >= RING_COMMANDS)
        TRY(mpi_await(mpi, next - RING_COMMANDS, clock_ms() + mpi->timeout_ms));
    *ret_sequence = ring_post(ring, order);
    return OK;
}

/* Cuts `count` units of `unit` bytes into pieces and posts them; the last one's sequence. `order`
 * says all but where and how many. */
static enum status mpi_post_pieces(struct mpi *mpi, struct ring_command order, const void *data,
                                   size_t count, size_t unit, uint64_t *ret_last)
{
    const size_t piece = RING_PIECE_BYTES / unit;
    const uint64_t start = (uint64_t)((const char *)data - mpi->base.region);
    for (size_t done = 0; done < count; done += piece) {
        order.offset = start + done * unit;
        order.count = count - done < piece ? count - done : piece;
        TRY(mpi_post(mpi, &order, ret_last));
    }
    return OK;
}

static enum status mpi_await_range(struct mpi *mpi, uint64_t first, uint64_t last)
{
    int64_t deadline_ms = clock_ms() + mpi->timeout_ms;
    for (uint64_t sequence = first; sequence <= last; sequence++) {
        /* An order whose place was used again is done: mpi_post made sure. */
        if (sequence + RING_COMMANDS > last)
            TRY(mpi_await(mpi, sequence, deadline_ms));
    }
    return OK;
}

static enum status mpi_run(struct mpi *mpi, struct ring_command order, const void *data,
                           size_t count, size_t unit)
{
    uint64_t first = atomic_load(&mpi->ring->posted), last = 0;
    TRY(mpi_post_pieces(mpi, order, data, count, unit, &last));
    return mpi_await_range(mpi, first, last);
}

static void mpi_abort(struct collective *collective)
{
    struct mpi *mpi = (struct mpi *)collective;
    atomic_store(&mpi->is_aborted, 1);
    bell_ring(&mpi->ring->worker_bell);
}

static void mpi_destroy(struct collective *collective)
{
    struct mpi *mpi = (struct mpi *)collective;
    if (mpi->socket >= 0) {
        helper_end(mpi->socket);
        thread_stop(&mpi->watcher); /* it saw the same end of file */
        close(mpi->socket);
    } else {
        helper_clean(&mpi->launch); /* no watcher could */
    }
    ring_unmap(mpi->ring);
    mem_free(mpi);
}

static enum ring_op ring_op_of(enum reduce_op op)
{
    switch (op) {
    case REDUCE_MAX:
        return RING_MAX;
    case REDUCE_SUM_DOUBLE:
        return RING_SUM_DOUBLE;
    case REDUCE_SUM:
    case REDUCE_SUM_GRADIENTS: /* shared memory and TCP: halves would cost more than they save */
        break;
    }
    return RING_SUM;
}

static enum status mpi_allreduce(struct collective *collective, void *data, size_t count,
                                 enum reduce_op op)
{
    const struct ring_command order = {.op = ring_op_of(op)};
    return mpi_run((struct mpi *)collective, order, data, count, reduce_op_bytes(op));
}

static enum status mpi_split(struct collective *collective, int cut, int color)
{
    struct mpi *mpi = (struct mpi *)collective;
    const struct ring_command order = {
        .op = RING_SPLIT, .root = color, .subgroup = (uint32_t)(1 + cut)};
    uint64_t sequence = 0;
    TRY(mpi_post(mpi, &order, &sequence));
    return mpi_await_range(mpi, sequence, sequence);
}

static enum status mpi_allreduce_within(struct collective *collective,
                                        const struct collective_part parts[COLLECTIVE_CUTS],
                                        enum reduce_op op)
{
    struct mpi *mpi = (struct mpi *)collective;
    const uint64_t first = atomic_load(&mpi->ring->posted);
    uint64_t last = 0;
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        const struct ring_command order = {.op = ring_op_of(op), .subgroup = (uint32_t)(1 + cut)};
        TRY(mpi_post_pieces(mpi, order, parts[cut].data, parts[cut].count, reduce_op_bytes(op),
                            &last));
    }
    return atomic_load(&mpi->ring->posted) == first ? mpi_check(mpi)
                                                    : mpi_await_range(mpi, first, last);
}

static enum status mpi_allreduce_start(struct collective *collective, void *data, size_t count,
                                       enum reduce_op op, uint64_t *ret_ticket)
{
    struct mpi *mpi = (struct mpi *)collective;
    const struct ring_command order = {.op = ring_op_of(op)};
    return mpi_post_pieces(mpi, order, data, count, reduce_op_bytes(op), ret_ticket);
}

static enum status mpi_wait(struct collective *collective, uint64_t ticket)
{
    struct mpi *mpi = (struct mpi *)collective;
    if (ticket < mpi->settled)
        return mpi_check(mpi);
    uint64_t posted = atomic_load(&mpi->ring->posted);
    CHECK(ticket < posted);
    /* Places used again since are done. */
    uint64_t first = posted > RING_COMMANDS ? posted - RING_COMMANDS : 0;
    TRY(mpi_await_range(mpi, first > mpi->settled ? first : mpi->settled, ticket));
    mpi->settled = ticket + 1;
    return OK;
}

static enum status mpi_broadcast(struct collective *collective, void *data, size_t bytes, int root)
{
    const struct ring_command order = {.op = RING_BROADCAST, .root = root};
    return mpi_run((struct mpi *)collective, order, data, bytes, 1);
}

/* Large parts go as one broadcast per member: an allgather cannot be cut without a copy. */
static enum status mpi_allgather(struct collective *collective, void *data, size_t bytes)
{
    const struct ring_command order = {.op = RING_GATHER};
    if (bytes <= RING_PIECE_BYTES)
        return mpi_run((struct mpi *)collective, order, data, bytes, 1);
    for (int rank = 0; rank < collective->size; rank++)
        TRY(mpi_broadcast(collective, (char *)data + (size_t)rank * bytes, bytes, rank));
    return OK;
}

static const struct engine_ops mpi_ops = {
    .name = "mpi",
    .destroy = mpi_destroy,
    .abort = mpi_abort,
    .allreduce = mpi_allreduce,
    .split = mpi_split,
    .allreduce_within = mpi_allreduce_within,
    .allreduce_start = mpi_allreduce_start,
    .wait = mpi_wait,
    .broadcast = mpi_broadcast,
    .allgather = mpi_allgather,
};

enum status collective_mpi_form(const struct collective_group *group,
                                struct collective **ret_collective)
{
    enum status status = OK;
    int ring_fd = -1;
    int64_t deadline_ms = clock_ms() + group->form_timeout_ms;
    struct helper_identity identity = {.run = group->run,
                                       .generation = group->generation,
                                       .nonce = group->nonce,
                                       .rank = group->rank,
                                       .size = group->size};
    struct mpi *mpi = mem_zero(sizeof(*mpi));
    mpi->base.ops = &mpi_ops;
    mpi->base.region = group->region;
    mpi->socket = -1;
    mpi->cancel_fd = group->cancel_fd;
    mpi->base.pulse = group->pulse; /* the watcher needs it before we return */
    mpi->launch = (struct helper_launch){
        .run = group->run, .generation = group->generation, .nonce = group->nonce};
    mpi->timeout_ms = group->timeout_ms;
    if (group->region_fd < 0) {
        status = fail(ERR_INPUT, "the mpi engine needs memory that a helper can map");
        goto out;
    }
    TRY_OUT(ring_create(&ring_fd, &mpi->ring));
    status = helper_accept(group->listen_fd, group->cancel_fd, &identity, group->region_fd, ring_fd,
                           deadline_ms, &mpi->socket);
    if (status == ERR_TIMEOUT && group->pulse != NULL)
        atomic_store(&group->pulse->helper_still_ms, group->form_timeout_ms);
    if (status != OK)
        goto out;
    TRY_OUT(thread_start(&mpi->watcher, "collective", watcher_run, mpi));
    TRY_OUT(mpi_await(mpi, UINT64_MAX, deadline_ms));
    *ret_collective = &mpi->base;
    mpi = NULL; /* given to the caller */
out:
    if (ring_fd >= 0)
        close(ring_fd);
    if (mpi != NULL)
        mpi_destroy(&mpi->base);
    return status;
}
