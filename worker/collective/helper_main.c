/* helper_main.c - seer-helper: runs one generation's collectives for one worker, then dies.
 *
 * The only program of ours that holds MPI state. It works in place on the worker's memory, and its
 * death is harmless: it holds nothing. It dies with its worker (end of file on the life line), with
 * mpirun (PR_SET_PDEATHSIG), and with any other helper, since mpirun then kills all. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <mpi.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/thread.h"
#include "worker/collective/helper.h"
#include "worker/collective/ring.h"

enum {
    WINDOW = 16, /* operations under way at once; pieces are 4 MiB, so 64 MiB of overlap */
    /* Waiting must burn no core, since workers compute on them: poll a little, then sleep twice as
     * long each time, and from SLEEP_SHORT_NS on a little longer each time. */
    SPIN_POLLS = 5,
    SLEEP_MIN_NS = 5000,
    SLEEP_SHORT_NS = 20000,
    SLEEP_MAX_NS = 100000,
    IDLE_SPIN_US = 30,
    /* Asleep it still gives the library a turn now and then, for what others may need of it. */
    IDLE_TURN_US = 20000,
    WARM_FLOATS = 16384,
};

struct helper {
    struct helper_identity identity;
    int socket;
    char *region;
    size_t region_bytes;
    struct ring *ring;
    uint64_t next;                      /* sequence of the next order to start */
    uint64_t oldest;                    /* all orders below are done */
    MPI_Request requests[WINDOW];       /* by sequence % WINDOW */
    MPI_Comm comms[1 + RING_SUBGROUPS]; /* all, and this member's subgroup of each cut;
                                           MPI_COMM_NULL: it is alone */
};

/* How long nothing has moved. The library's own way to wait is no choice: it never sleeps. */
struct patience {
    int polls;
    long sleep_ns;
};
#define PATIENCE_NEW ((struct patience){.sleep_ns = SLEEP_MIN_NS})

static void patience_wait(struct patience *patience)
{
    if (++patience->polls <= SPIN_POLLS)
        return;
    nanosleep(&(struct timespec){.tv_nsec = patience->sleep_ns}, NULL);
    if (patience->sleep_ns < SLEEP_SHORT_NS)
        patience->sleep_ns *= 2;
    else if (patience->sleep_ns < SLEEP_MAX_NS)
        patience->sleep_ns += patience->sleep_ns / 64;
}

/* Ends the process: MPI is not finalized, so mpirun ends the whole group. */
static void helper_die(const char *reason)
{
    log_error("event=helper_failed reason=\"%s\"", reason);
    _exit(1);
}

static void watcher_run(void *argument)
{
    struct helper *helper = argument;
    char byte;
    while (recv(helper->socket, &byte, 1, 0) > 0)
        ;
    /* Our end is that of all helpers of this launch. The server may be gone, and all workers with
     * it. */
    struct helper_launch launch = {.run = helper->identity.run,
                                   .generation = helper->identity.generation,
                                   .nonce = helper->identity.nonce};
    helper_clean(&launch);
    _exit(1); /* the worker has gone or ended the generation: not worth a line */
}

static size_t unit_bytes(uint32_t op)
{
    if (op == RING_SUM_DOUBLE)
        return sizeof(double);
    return op == RING_SUM || op == RING_MAX ? sizeof(float) : 1;
}

static void order_check(const struct helper *helper, const struct ring_command *order)
{
    size_t unit = unit_bytes(order->op);
    size_t parts = order->op == RING_GATHER ? (size_t)helper->identity.size : 1;
    if (order->offset > helper->region_bytes || order->count > RING_PIECE_BYTES / unit ||
        order->count * unit * parts > helper->region_bytes - order->offset)
        helper_die("order outside the region");
    if (order->subgroup > RING_SUBGROUPS ||
        (order->op == RING_SPLIT && order->subgroup == RING_ALL))
        helper_die("unknown subgroup");
    if (order->op != RING_SPLIT && helper->comms[order->subgroup] == MPI_COMM_NULL)
        helper_die("order for a subgroup that is none");
}

static void order_start(struct helper *helper, uint64_t sequence)
{
    const struct ring_command *order = &helper->ring->commands[sequence % RING_COMMANDS];
    MPI_Request *request = &helper->requests[sequence % WINDOW];
    order_check(helper, order);
    const MPI_Comm comm = helper->comms[order->subgroup];
    void *data = helper->region + order->offset;
    int count = (int)order->count;
    switch (order->op) {
    case RING_SUM:
        MPI_Iallreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_SUM, comm, request);
        break;
    case RING_SUM_DOUBLE:
        MPI_Iallreduce(MPI_IN_PLACE, data, count, MPI_DOUBLE, MPI_SUM, comm, request);
        break;
    case RING_MAX:
        MPI_Iallreduce(MPI_IN_PLACE, data, count, MPI_FLOAT, MPI_MAX, comm, request);
        break;
    case RING_BROADCAST:
        MPI_Ibcast(data, count, MPI_BYTE, order->root, MPI_COMM_WORLD, request);
        break;
    case RING_GATHER:
        MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, data, count, MPI_BYTE, MPI_COMM_WORLD, request);
        break;
    case RING_SPLIT: /* once all have come so far, splitting waits for nobody */
        MPI_Ibarrier(MPI_COMM_WORLD, request);
        break;
    default:
        helper_die("unknown order");
    }
}

/* All members have posted it, and nothing else is open. MPI knows no splitting in the background.
 */
static void order_split(struct helper *helper, const struct ring_command *order)
{
    MPI_Comm *comm = &helper->comms[order->subgroup];
    if (*comm != MPI_COMM_NULL)
        MPI_Comm_free(comm);
    MPI_Comm_split(MPI_COMM_WORLD, order->root < 0 ? MPI_UNDEFINED : order->root,
                   helper->identity.rank, comm);
}

/* Starts what is posted and fits, tests what is under way. Returns whether anything moved. */
static int helper_turn(struct helper *helper)
{
    int has_moved = 0;
    uint64_t posted = atomic_load(&helper->ring->posted);
    for (; helper->next < posted && helper->next < helper->oldest + WINDOW; helper->next++) {
        order_start(helper, helper->next);
        has_moved = 1;
    }
    for (uint64_t sequence = helper->oldest; sequence < helper->next; sequence++) {
        MPI_Request *request = &helper->requests[sequence % WINDOW];
        if (*request == MPI_REQUEST_NULL)
            continue; /* done before an older one */
        int is_done = 0;
        MPI_Test(request, &is_done, MPI_STATUS_IGNORE);
        if (!is_done)
            continue;
        *request = MPI_REQUEST_NULL;
        const struct ring_command *order = &helper->ring->commands[sequence % RING_COMMANDS];
        if (order->op == RING_SPLIT)
            order_split(helper, order);
        ring_complete(helper->ring, sequence);
        has_moved = 1;
    }
    while (helper->oldest < helper->next &&
           helper->requests[helper->oldest % WINDOW] == MPI_REQUEST_NULL)
        helper->oldest++;
    return has_moved;
}

/* Nothing to do: a glance longer for the next order, then sleep on the bell. */
static void helper_idle(struct helper *helper)
{
    int64_t until_us = clock_us() + IDLE_SPIN_US;
    while (clock_us() < until_us) {
        if (atomic_load(&helper->ring->posted) != helper->next)
            return;
    }
    uint32_t seen = bell_count(&helper->ring->helper_bell);
    if (atomic_load(&helper->ring->posted) == helper->next)
        bell_wait(&helper->ring->helper_bell, seen, IDLE_TURN_US);
    int has_message;
    MPI_Iprobe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &has_message, MPI_STATUS_IGNORE);
}

/* For ever: the process ends by its watcher or by a signal. */
static void helper_serve(struct helper *helper)
{
    struct patience patience = PATIENCE_NEW;
    for (;;) {
        atomic_fetch_add_explicit(&helper->ring->turns, 1, memory_order_relaxed);
        if (helper_turn(helper))
            patience = PATIENCE_NEW;
        else if (helper->oldest == helper->next)
            helper_idle(helper);
        else
            patience_wait(&patience);
    }
}

static enum status helper_map(struct helper *helper, int region_fd)
{
    struct stat stat;
    if (fstat(region_fd, &stat) != 0 || stat.st_size <= 0)
        return fail(ERR_PROTOCOL, "the worker's memory has no size");
    helper->region_bytes = (size_t)stat.st_size;
    helper->region =
        mmap(NULL, helper->region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region_fd, 0);
    if (helper->region == MAP_FAILED)
        return fail(ERR_IO, "cannot map %zu bytes of the worker", helper->region_bytes);
    return OK;
}

static enum status helper_join(struct helper *helper, char **addresses)
{
    int region_fd, ring_fd;
    TRY(helper_call(addresses[helper->identity.rank], &helper->identity, &helper->socket,
                    &region_fd, &ring_fd));
    TRY(helper_map(helper, region_fd));
    TRY(ring_map(ring_fd, &helper->ring));
    close(region_fd);
    close(ring_fd);
    return OK;
}

/* What only first messages cost, paid while the present generation still trains: connections are
 * made at the first message of a pair, and each size has its own algorithm. */
static void helper_meet(void)
{
    static const int counts[] = {1, 512, WARM_FLOATS};
    static float sums[WARM_FLOATS];
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        struct patience patience = PATIENCE_NEW;
        MPI_Request request;
        int is_done = 0;
        MPI_Iallreduce(MPI_IN_PLACE, sums, counts[i], MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD, &request);
        for (;;) {
            MPI_Test(&request, &is_done, MPI_STATUS_IGNORE);
            if (is_done)
                break;
            patience_wait(&patience);
        }
    }
}

/* Pages of the worker's memory are mapped ahead, beside everything else: it may be large. */
static void populate_run(void *argument)
{
    const struct helper *helper = argument;
    madvise(helper->region, helper->region_bytes, MADV_POPULATE_WRITE); /* not before Linux 5.14 */
}

/* seer-helper --run R --generation G --nonce X ADDRESS... as helper_command.c writes it. */
static enum status arguments_parse(int argc, char **argv, struct helper_identity *ret)
{
    if (argc < 8 || strcmp(argv[1], "--run") != 0 || strcmp(argv[3], "--generation") != 0 ||
        strcmp(argv[5], "--nonce") != 0)
        return fail(ERR_INPUT, "seer-helper is started by seer-server through mpirun; usage: "
                               "seer-helper --run R --generation G --nonce X ADDRESS...");
    ret->run = strtoull(argv[2], NULL, 10);
    ret->generation = strtoull(argv[4], NULL, 10);
    ret->nonce = strtoull(argv[6], NULL, 10);
    return OK;
}

int main(int argc, char **argv)
{
    static struct helper helper;
    enum { FIRST_ADDRESS = 7 };
    log_start("seer-helper", LOG_LEVEL_WARN);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_TIMERSLACK, 1000UL); /* ns: the default of 50 us would treble the shortest sleep */
    if (arguments_parse(argc, argv, &helper.identity) != OK)
        helper_die(fail_message());
    int provided;
    MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
    MPI_Comm_rank(MPI_COMM_WORLD, &helper.identity.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &helper.identity.size);
    if (provided < MPI_THREAD_FUNNELED || argc - FIRST_ADDRESS != helper.identity.size)
        helper_die("one address per member is needed, and an MPI that allows threads beside it");
    for (int i = 0; i <= RING_SUBGROUPS; i++)
        helper.comms[i] = i == RING_ALL ? MPI_COMM_WORLD : MPI_COMM_NULL;
    for (int i = 0; i < WINDOW; i++)
        helper.requests[i] = MPI_REQUEST_NULL;
    if (helper_join(&helper, argv + FIRST_ADDRESS) != OK)
        helper_die(fail_message());
    struct thread watcher = {0}, populate = {0};
    if (thread_start(&watcher, "watcher", watcher_run, &helper) != OK ||
        thread_start(&populate, "populate", populate_run, &helper) != OK)
        helper_die(fail_message());
    helper_meet();
    atomic_store(&helper.ring->is_formed, 1);
    bell_ring(&helper.ring->worker_bell);
    helper_serve(&helper);
    return 0;
}
