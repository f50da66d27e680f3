/* virtual_team.c - a collective among threads of one process, for tests of several members. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/virtual_team.h"

#include <pthread.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "worker/device/device.h"

enum { PIECE_BYTES = 1 << 18 };

struct collective {
    struct virtual_team *team;
    int rank;
    uint64_t generation, tickets;
    struct device *device; /* whose memory it is; NULL: the host's */
    int colors[COLLECTIVE_CUTS];
    struct collective_part parts[COLLECTIVE_CUTS];
};

struct virtual_team {
    int size;
    struct collective members[VIRTUAL_TEAM_MAX];
    pthread_barrier_t barrier;
    char *data[VIRTUAL_TEAM_MAX]; /* written before the barrier by its rank, read after it */
    size_t count[VIRTUAL_TEAM_MAX];
    char sum[PIECE_BYTES] __attribute__((aligned(64))); /* written by rank 0 between barriers */
    int calls, within_calls;
    int left_out; /* rank; 0: none */
};

struct virtual_team *virtual_team_create(int size)
{
    CHECK(size >= 1 && size <= VIRTUAL_TEAM_MAX);
    struct virtual_team *team = mem_zero(sizeof(*team));
    team->size = size;
    CHECK(pthread_barrier_init(&team->barrier, NULL, (unsigned)size) == 0);
    for (int rank = 0; rank < size; rank++)
        team->members[rank] = (struct collective){.team = team, .rank = rank, .generation = 1};
    return team;
}

void virtual_team_destroy(struct virtual_team *team)
{
    pthread_barrier_destroy(&team->barrier);
    mem_free(team);
}

struct collective *virtual_team_member(struct virtual_team *team, int rank)
{
    return &team->members[rank];
}

int virtual_team_calls(const struct virtual_team *team)
{
    return team->calls;
}

int virtual_team_within_calls(const struct virtual_team *team)
{
    return team->within_calls;
}

int collective_rank(const struct collective *collective)
{
    return collective->rank;
}

int collective_is_alone(const struct collective *collective)
{
    return collective->team->size == 1;
}

int64_t collective_waited_us(const struct collective *collective)
{
    (void)collective;
    return 0;
}

int collective_size(const struct collective *collective)
{
    return collective->team->size;
}

uint64_t collective_generation(const struct collective *collective)
{
    return collective->generation;
}

void virtual_team_set_generation(struct virtual_team *team, int rank, uint64_t generation)
{
    team->members[rank].generation = generation;
}

void virtual_team_leave_out(struct virtual_team *team, int rank)
{
    CHECK(rank > 0);
    team->left_out = rank;
}

void virtual_team_on_device(struct virtual_team *team, int rank, struct device *device)
{
    team->members[rank].device = device;
}

/* Where the host can read and write it: there, or in a copy that staged_up brings back. */
static void *staged_down(const struct collective *collective, void *data, size_t bytes)
{
    if (collective->device == NULL || bytes == 0)
        return data;
    void *copy = mem_alloc(bytes);
    collective->device->ops->download(collective->device, copy, data, bytes);
    return copy;
}

static void staged_up(const struct collective *collective, void *data, void *copy, size_t bytes)
{
    if (copy == data)
        return;
    collective->device->ops->upload(collective->device, data, copy, bytes);
    mem_free(copy);
}

size_t reduce_op_bytes(enum reduce_op op)
{
    return op == REDUCE_SUM_DOUBLE ? sizeof(double) : sizeof(float);
}

static void reduce_floats(float *sum, const float *other, size_t count, enum reduce_op op)
{
    for (size_t i = 0; i < count; i++) {
        if (op != REDUCE_MAX)
            sum[i] += other[i];
        else if (other[i] > sum[i])
            sum[i] = other[i];
    }
}

static void reduce_doubles(double *sum, const double *other, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sum[i] += other[i];
}

static void reduce_piece(struct virtual_team *team, size_t at, size_t bytes, enum reduce_op op)
{
    memcpy(team->sum, team->data[0] + at, bytes);
    for (int rank = 1; rank < team->size; rank++) {
        void *sum = team->sum;
        const void *other = team->data[rank] + at;
        if (rank == team->left_out)
            continue;
        if (op == REDUCE_SUM_DOUBLE)
            reduce_doubles(sum, other, bytes / sizeof(double));
        else
            reduce_floats(sum, other, bytes / sizeof(float), op);
    }
}

enum status collective_allreduce(struct collective *collective, void *data, size_t count,
                                 enum reduce_op op)
{
    struct virtual_team *team = collective->team;
    const size_t bytes = count * reduce_op_bytes(op);
    char *host = staged_down(collective, data, bytes);
    team->data[collective->rank] = host;
    team->count[collective->rank] = bytes;
    pthread_barrier_wait(&team->barrier);
    for (int rank = 0; rank < team->size; rank++)
        CHECK(team->count[rank] == bytes); /* members must call the same operations */
    for (size_t at = 0; at < bytes; at += PIECE_BYTES) {
        const size_t piece = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;
        if (collective->rank == 0)
            reduce_piece(team, at, piece, op);
        pthread_barrier_wait(&team->barrier);
        memcpy(host + at, team->sum, piece);
        pthread_barrier_wait(&team->barrier);
    }
    staged_up(collective, data, host, bytes);
    if (collective->rank == 0)
        team->calls++;
    return OK;
}

enum status collective_allgather(struct collective *collective, void *data, size_t bytes)
{
    struct virtual_team *team = collective->team;
    const size_t all = bytes * (size_t)team->size;
    char *host = staged_down(collective, data, all);
    team->data[collective->rank] = host;
    pthread_barrier_wait(&team->barrier);
    for (int rank = 0; rank < team->size; rank++)
        if (rank != collective->rank)
            memcpy(host + (size_t)rank * bytes, team->data[rank] + (size_t)rank * bytes, bytes);
    pthread_barrier_wait(&team->barrier);
    staged_up(collective, data, host, all);
    return OK;
}

enum status collective_broadcast(struct collective *collective, void *data, size_t bytes, int root)
{
    struct virtual_team *team = collective->team;
    team->data[collective->rank] = data;
    pthread_barrier_wait(&team->barrier);
    if (collective->rank != root)
        memcpy(data, team->data[root], bytes);
    pthread_barrier_wait(&team->barrier);
    return OK;
}

enum status collective_split(struct collective *collective, uint64_t key,
                             const int colors[COLLECTIVE_CUTS])
{
    CHECK(key != 0);
    memcpy(collective->colors, colors, sizeof(collective->colors));
    pthread_barrier_wait(&collective->team->barrier);
    return OK;
}

/* Everybody sums those of its colour, in the order of ranks, into memory of its own first. */
static void sum_within(struct collective *collective, int cut, char *sum, size_t bytes,
                       enum reduce_op op)
{
    const struct virtual_team *team = collective->team;
    int is_first = 1;
    for (int rank = 0; rank < team->size; rank++) {
        const struct collective *other = &team->members[rank];
        if (other->colors[cut] != collective->colors[cut])
            continue;
        CHECK(other->parts[cut].count * reduce_op_bytes(op) == bytes);
        if (is_first)
            memcpy(sum, other->parts[cut].data, bytes);
        else if (op == REDUCE_SUM_DOUBLE)
            reduce_doubles((double *)(void *)sum, other->parts[cut].data, bytes / sizeof(double));
        else
            reduce_floats((float *)(void *)sum, other->parts[cut].data, bytes / sizeof(float), op);
        is_first = 0;
    }
}

enum status collective_allreduce_within(struct collective *collective,
                                        const struct collective_part parts[COLLECTIVE_CUTS],
                                        enum reduce_op op)
{
    struct virtual_team *team = collective->team;
    memcpy(collective->parts, parts, sizeof(collective->parts));
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++)
        collective->parts[cut].data =
            staged_down(collective, parts[cut].data, parts[cut].count * reduce_op_bytes(op));
    pthread_barrier_wait(&team->barrier);
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        const size_t bytes = parts[cut].count * reduce_op_bytes(op);
        char *sum = bytes == 0 ? NULL : mem_alloc(bytes);
        if (bytes > 0)
            sum_within(collective, cut, sum, bytes, op);
        pthread_barrier_wait(&team->barrier);
        if (bytes > 0)
            memcpy(collective->parts[cut].data, sum, bytes);
        mem_free(sum);
        pthread_barrier_wait(&team->barrier);
        staged_up(collective, parts[cut].data, collective->parts[cut].data, bytes);
    }
    if (collective->rank == 0)
        team->within_calls++;
    return OK;
}

enum status collective_allreduce_start(struct collective *collective, void *data, size_t count,
                                       enum reduce_op op, uint64_t *ret_ticket)
{
    TRY(collective_allreduce(collective, data, count, op));
    *ret_ticket = ++collective->tickets;
    return OK;
}

enum status collective_wait(struct collective *collective, uint64_t ticket)
{
    CHECK(ticket <= collective->tickets);
    return OK;
}
