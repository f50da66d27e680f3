/* fake_nccl.c - NCCL among processes of one host, which computes right and fails when it is told
 * to.
 *
 * A communicator is a file that all its members map, in the folder $SEER_FAKE_NCCL; each member has
 * a few places in it, through which operations go piece by piece. Operations are tasks in streams
 * of the emulated GPU. As in NCCL a member that dies or aborts is seen by nobody: the others wait.
 *
 * Faults: a file fault-PID in the same folder, taken (and removed) at the next call, of one line
 * "KIND NUMBER":
 *   hang N     the N-th operation from then on never begins here
 *   partial N  the others complete it, this member does not
 *   error N    as hang, and ncclCommGetAsyncError says so, but late
 *   init 0     the next communicator never becomes ready
 *   abort MS   the next abort takes so long, -1 for ever */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <nccl.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "worker/device/cuda/emulated/emulator.h"
#include "worker/device/cuda/emulated/values.h"

enum { RANKS_MAX = 16, PLACES = 4, PIECE_BYTES = 1 << 20, SPLITS = 64, LATE_MS = 300 };

/* The file: zero when it is new. Counts are of pieces, over all operations. */
struct board {
    _Atomic uint32_t attached; /* a bit for each rank */
    _Atomic uint64_t posted[RANKS_MAX], done[RANKS_MAX];
    _Atomic uint64_t bytes[RANKS_MAX][PLACES]; /* of the piece, which must be the same for all */
    _Atomic int32_t colors[SPLITS][RANKS_MAX]; /* 2 + color, which may be NCCL_SPLIT_NOCOLOR */
    char places[RANKS_MAX][PLACES][PIECE_BYTES];
};

enum fault_kind { FAULT_NONE, FAULT_HANG, FAULT_PARTIAL, FAULT_ERROR, FAULT_INIT, FAULT_ABORT };

struct ncclComm {
    char path[512];
    struct board *board;
    struct ncclComm *parent; /* while its split is under way */
    struct ncclComm *child; /* that is split off this one now, and where it goes when it is ready */
    ncclComm_t *child_place;
    int rank, size, is_ready, is_stalled, color, split;
    int splits;             /* made of this one */
    uint64_t next_piece;    /* of this rank */
    _Atomic int references; /* its owner and its operations */
    _Atomic int is_aborted;
    _Atomic int64_t error_ms; /* when it begins to say that it failed; 0: never */
};

struct operation {
    struct ncclComm *comm;
    const char *send;
    char *receive;
    size_t bytes, at; /* of a contribution; done of it */
    size_t unit;
    ncclDataType_t type;
    ncclRedOp_t op;
    int root; /* broadcast; -1: none */
    int is_gather;
    int is_posted; /* the piece at `at` is in its place */
    uint64_t piece;
    enum fault_kind fault;
};

/* What shall go wrong. */
static struct {
    pthread_mutex_t lock;
    enum fault_kind kind;
    long number; /* operations still to go, or milliseconds */
} fault = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static const char *folder(void)
{
    const char *path = getenv("SEER_FAKE_NCCL");
    return path != NULL ? path : "/dev/shm";
}

static void take_fault_file(void)
{
    static const char *const names[] = {
        [FAULT_HANG] = "hang", [FAULT_PARTIAL] = "partial", [FAULT_ERROR] = "error",
        [FAULT_INIT] = "init", [FAULT_ABORT] = "abort",
    };
    char path[512], word[16] = "";
    snprintf(path, sizeof(path), "%s/fault-%d", folder(), (int)getpid());
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fscanf(file, "%15s %ld", word, &fault.number) == 2)
        for (int kind = FAULT_HANG; kind <= FAULT_ABORT; kind++)
            if (strcmp(word, names[kind]) == 0)
                fault.kind = (enum fault_kind)kind;
    fclose(file);
    unlink(path);
}

/* Is it time for a fault of this kind? Then it is over. */
static int is_due(enum fault_kind kind, long *ret_number)
{
    pthread_mutex_lock(&fault.lock);
    take_fault_file();
    const int due = fault.kind == kind;
    if (ret_number != NULL)
        *ret_number = fault.number;
    if (due)
        fault.kind = FAULT_NONE;
    pthread_mutex_unlock(&fault.lock);
    return due;
}

/* What happens to the operation that begins now. */
static enum fault_kind fault_of_operation(void)
{
    enum fault_kind kind = FAULT_NONE;
    pthread_mutex_lock(&fault.lock);
    take_fault_file();
    if (fault.kind >= FAULT_HANG && fault.kind <= FAULT_ERROR && --fault.number <= 0) {
        kind = fault.kind;
        fault.kind = FAULT_NONE;
    }
    pthread_mutex_unlock(&fault.lock);
    return kind;
}

static void let_go(struct ncclComm *comm)
{
    if (atomic_fetch_sub(&comm->references, 1) > 1)
        return;
    if (comm->board != NULL)
        munmap(comm->board, sizeof(*comm->board));
    free(comm);
}

static ncclResult_t open_board(struct ncclComm *comm)
{
    int fd = open(comm->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *memory = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof(struct board)) == 0)
        memory = mmap(NULL, sizeof(struct board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0)
        close(fd);
    if (memory == MAP_FAILED)
        return ncclSystemError;
    comm->board = memory;
    atomic_fetch_or(&comm->board->attached, 1u << comm->rank);
    return ncclSuccess;
}

static struct ncclComm *new_comm(void)
{
    struct ncclComm *comm = calloc(1, sizeof(*comm));
    if (comm == NULL)
        abort();
    atomic_store(&comm->references, 1);
    comm->is_stalled = is_due(FAULT_INIT, NULL);
    return comm;
}

/* All members of a split have said their colour: ranks are in the order of the parent's. Who said
 * none is done. */
static ncclResult_t settle_split(struct ncclComm *comm)
{
    const struct ncclComm *parent = comm->parent;
    comm->rank = comm->size = 0;
    for (int rank = 0; rank < parent->size; rank++) {
        const int color = atomic_load(&parent->board->colors[comm->split][rank]) - 2;
        if (color < NCCL_SPLIT_NOCOLOR)
            return ncclInProgress;
        comm->rank += color == comm->color && rank < parent->rank;
        comm->size += color == comm->color;
    }
    comm->parent = NULL;
    if (comm->color == NCCL_SPLIT_NOCOLOR) {
        comm->is_ready = 1;
        return ncclSuccess;
    }
    snprintf(comm->path, sizeof(comm->path), "%.400s-%d-%d", parent->path, comm->split,
             comm->color);
    return open_board(comm);
}

static ncclResult_t progress(struct ncclComm *comm)
{
    if (comm->is_ready)
        return ncclSuccess;
    if (comm->is_stalled)
        return ncclInProgress;
    if (comm->parent != NULL) {
        const ncclResult_t result = settle_split(comm);
        if (result != ncclSuccess || comm->is_ready)
            return result;
    }
    if (atomic_load(&comm->board->attached) != (1u << comm->size) - 1)
        return ncclInProgress;
    comm->is_ready = 1;
    unlink(comm->path); /* all have it: nothing stays, however they end */
    return ncclSuccess;
}

/* As NCCL does: nobody has a child before it is complete, and its parent says so. */
static ncclResult_t progress_with_child(struct ncclComm *comm)
{
    struct ncclComm *child = comm->child;
    const ncclResult_t result = progress(child != NULL ? child : comm);
    if (child == NULL || result != ncclSuccess)
        return result;
    comm->child = NULL;
    if (child->color == NCCL_SPLIT_NOCOLOR)
        let_go(child);
    else
        *comm->child_place = child;
    return ncclSuccess;
}

static float float_of(const char *at, ncclDataType_t type)
{
    uint16_t half;
    float value;
    if (type == ncclBfloat16)
        return values_from_bf16(*(const uint16_t *)memcpy(&half, at, sizeof(half)));
    return *(const float *)memcpy(&value, at, sizeof(value));
}

static float reduced(const struct operation *o, float a, float b)
{
    if (o->op == ncclMax)
        return a > b ? a : b;
    const float sum = a + b;
    return o->type == ncclBfloat16 ? values_from_bf16(values_to_bf16(sum)) : sum;
}

/* Value by value, in the order of ranks, as every member does: all get the same bits. */
static void reduce_value(const struct operation *o, const char *const *from, size_t at, char *to)
{
    if (o->type == ncclFloat64) {
        double sum = 0, value;
        for (int rank = 0; rank < o->comm->size; rank++)
            sum += *(const double *)memcpy(&value, from[rank] + at, sizeof(value));
        memcpy(to, &sum, sizeof(sum));
        return;
    }
    float value = float_of(from[0] + at, o->type);
    for (int rank = 1; rank < o->comm->size; rank++)
        value = reduced(o, value, float_of(from[rank] + at, o->type));
    const uint16_t half = values_to_bf16(value);
    memcpy(to, o->type == ncclBfloat16 ? (const void *)&half : (const void *)&value, o->unit);
}

static void collect(const struct operation *o, size_t bytes)
{
    const char *from[RANKS_MAX];
    for (int rank = 0; rank < o->comm->size; rank++)
        from[rank] = o->comm->board->places[rank][o->piece % PLACES];
    if (o->is_gather) {
        for (int rank = 0; rank < o->comm->size; rank++)
            memcpy(o->receive + (size_t)rank * o->bytes + o->at, from[rank], bytes);
    } else if (o->root >= 0) {
        memcpy(o->receive + o->at, from[o->root], bytes);
    } else {
        for (size_t at = 0; at < bytes; at += o->unit)
            reduce_value(o, from, at, o->receive + o->at + at);
    }
}

/* Have all ranks counted so far? */
static int have_all(const _Atomic uint64_t *counts, int size, uint64_t count)
{
    for (int rank = 0; rank < size; rank++)
        if (atomic_load(&counts[rank]) < count)
            return 0;
    return 1;
}

static int post(struct operation *o, size_t bytes)
{
    struct ncclComm *comm = o->comm;
    struct board *board = comm->board;
    if (!comm->is_ready) /* as when work is given to a communicator that is in progress still */
        return progress(comm) == ncclSuccess ? post(o, bytes) : 0;
    o->piece = comm->next_piece;
    if (o->piece >= PLACES && !have_all(board->done, comm->size, o->piece - PLACES + 1))
        return 0;
    comm->next_piece++;
    memcpy(board->places[comm->rank][o->piece % PLACES], o->send + o->at, bytes);
    atomic_store(&board->bytes[comm->rank][o->piece % PLACES], bytes);
    atomic_store(&board->posted[comm->rank], o->piece + 1);
    o->is_posted = 1;
    return 1;
}

/* Members that call different operations get garbage of NCCL; here they stand still and say it. */
static int is_mismatched(struct operation *o, size_t bytes)
{
    for (int rank = 0; rank < o->comm->size; rank++)
        if (atomic_load(&o->comm->board->bytes[rank][o->piece % PLACES]) != bytes) {
            atomic_store(&o->comm->error_ms, now_ms());
            return 1;
        }
    return 0;
}

/* 1: all of it is done. */
static int work(struct operation *o)
{
    const struct ncclComm *comm = o->comm;
    while (o->at < o->bytes) {
        const size_t left = o->bytes - o->at, bytes = left < PIECE_BYTES ? left : PIECE_BYTES;
        if (!o->is_posted && !post(o, bytes))
            return 0;
        if (!have_all(comm->board->posted, comm->size, o->piece + 1) || is_mismatched(o, bytes))
            return 0;
        collect(o, bytes);
        atomic_store(&comm->board->done[comm->rank], o->piece + 1);
        o->at += bytes;
        o->is_posted = 0;
    }
    return 1;
}

/* 1: nothing of it is seen as done here, whatever others see. */
static int is_held(struct operation *o)
{
    if (o->fault == FAULT_PARTIAL && !o->is_gather) {
        struct operation copy = *o; /* the others get our part; what comes of it we do not see */
        copy.receive = NULL;
        if (!o->is_posted) {
            const size_t bytes = o->bytes < PIECE_BYTES ? o->bytes : PIECE_BYTES;
            if (post(&copy, bytes))
                o->is_posted = 1;
        }
    }
    return o->fault != FAULT_NONE;
}

static int is_operation_done(void *data)
{
    struct operation *o = data;
    struct ncclComm *comm = o->comm;
    if (!atomic_load(&comm->is_aborted) && (is_held(o) || !work(o)))
        return 0;
    let_go(comm);
    free(o);
    return 1;
}

static ncclResult_t enqueue(const struct operation *operation, cudaStream_t stream)
{
    struct ncclComm *comm = operation->comm;
    struct operation *o = malloc(sizeof(*o));
    if (o == NULL)
        abort();
    *o = *operation;
    o->fault = fault_of_operation();
    if (o->fault == FAULT_ERROR)
        atomic_store(&comm->error_ms, now_ms() + LATE_MS);
    atomic_fetch_add(&comm->references, 1);
    emulator_task(stream, is_operation_done, o);
    return ncclInProgress; /* as a communicator that does not block may say */
}

static size_t unit_of(ncclDataType_t type)
{
    return type == ncclFloat64 ? 8 : type == ncclFloat32 ? 4 : type == ncclBfloat16 ? 2 : 1;
}

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream)
{
    const size_t unit = unit_of(type);
    return enqueue(&(struct operation){.comm = comm,
                                       .send = send,
                                       .receive = receive,
                                       .bytes = count * unit,
                                       .unit = unit,
                                       .type = type,
                                       .op = op,
                                       .root = -1},
                   stream);
}

ncclResult_t ncclBroadcast(const void *send, void *receive, size_t count, ncclDataType_t type,
                           int root, ncclComm_t comm, cudaStream_t stream)
{
    return enqueue(&(struct operation){.comm = comm,
                                       .send = send,
                                       .receive = receive,
                                       .bytes = count * unit_of(type),
                                       .root = root},
                   stream);
}

ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream)
{
    return enqueue(&(struct operation){.comm = comm,
                                       .send = send,
                                       .receive = receive,
                                       .bytes = count * unit_of(type),
                                       .root = -1,
                                       .is_gather = 1},
                   stream);
}

ncclResult_t ncclGetVersion(int *version)
{
    *version = 22809;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result)
{
    return result == ncclSuccess ? "no error" : result == ncclInProgress ? "in progress" : "failed";
}

const char *ncclGetLastError(ncclComm_t comm)
{
    (void)comm;
    return "a fake failed as it was told to";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    return getrandom(id, sizeof(*id), 0) == sizeof(*id) ? ncclSuccess : ncclSystemError;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *ret_comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    uint64_t words[2];
    if (config->blocking != 0 || size > RANKS_MAX)
        return ncclInvalidArgument;
    struct ncclComm *comm = new_comm();
    memcpy(words, id.internal, sizeof(words));
    snprintf(comm->path, sizeof(comm->path), "%s/comm-%016llx%016llx", folder(),
             (unsigned long long)words[0], (unsigned long long)words[1]);
    comm->rank = rank;
    comm->size = size;
    *ret_comm = comm;
    if (comm->is_stalled)
        return ncclInProgress;
    const ncclResult_t result = open_board(comm);
    return result == ncclSuccess ? ncclInProgress : result;
}

ncclResult_t ncclCommSplit(ncclComm_t parent, int color, int key, ncclComm_t *ret_comm,
                           ncclConfig_t *config)
{
    *ret_comm = NULL;
    if (config->blocking != 0 || key != parent->rank || parent->splits == SPLITS ||
        parent->child != NULL)
        return ncclInvalidArgument; /* more than the engine needs */
    struct ncclComm *comm = new_comm();
    comm->parent = parent;
    comm->color = color;
    comm->split = parent->splits++;
    parent->child = comm;
    parent->child_place = ret_comm;
    if (!comm->is_stalled)
        atomic_store(&parent->board->colors[comm->split][parent->rank], color + 2);
    return ncclInProgress;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t *ret_error)
{
    if (comm == NULL)
        return ncclInvalidArgument;
    const int64_t error_ms = atomic_load(&comm->error_ms);
    *ret_error =
        error_ms != 0 && now_ms() >= error_ms ? ncclRemoteError : progress_with_child(comm);
    return ncclSuccess;
}

static void end(struct ncclComm *comm)
{
    if (comm->child != NULL)
        end(comm->child);
    atomic_store(&comm->is_aborted, 1);
    if (!comm->is_ready && comm->path[0] != 0)
        unlink(comm->path);
    let_go(comm);
}

ncclResult_t ncclCommAbort(ncclComm_t comm)
{
    long wait_ms;
    if (is_due(FAULT_ABORT, &wait_ms))
        for (const int64_t end_ms = now_ms() + wait_ms; wait_ms < 0 || now_ms() < end_ms;)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    end(comm);
    return ncclSuccess;
}

ncclResult_t ncclGroupStart(void)
{
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd(void)
{
    return ncclSuccess;
}
