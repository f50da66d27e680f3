/* collective.c - picks the engine of a group and checks ranges before it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/collective.h"

#include "common/check.h"
#include "common/clock.h"
#include "worker/collective/engine.h"

static void range_check(const struct collective *collective, const void *data, size_t bytes)
{
    size_t offset = (size_t)((const char *)data - collective->region);
    CHECK((const char *)data >= collective->region);
    CHECK(offset <= collective->region_bytes && bytes <= collective->region_bytes - offset);
}

enum status collective_form(const struct collective_group *group,
                            struct collective **ret_collective)
{
    CHECK(group->size >= 1 && group->rank >= 0 && group->rank < group->size);
    struct collective *collective = NULL;
    if (group->pulse != NULL) {
        atomic_store(&group->pulse->operations, 0);
        atomic_store(&group->pulse->helper_still_ms, 0);
    }
    switch (group->engine) {
    case COLLECTIVE_SELF:
        TRY(collective_self_form(group, &collective));
        break;
    case COLLECTIVE_MPI:
        if (group->device != NULL && group->region_fd < 0)
            TRY(collective_staged_form(group, &collective));
        else
            TRY(collective_mpi_form(group, &collective));
        break;
    case COLLECTIVE_NCCL:
        TRY(collective_nccl_form(group, &collective));
        break;
    default:
        return fail(ERR_PROTOCOL, "unknown collective engine %d", (int)group->engine);
    }
    collective->rank = group->rank;
    collective->size = group->size;
    collective->generation = group->generation;
    collective->region = group->region;
    collective->region_bytes = group->region_bytes;
    collective->pulse = group->pulse;
    *ret_collective = collective;
    return OK;
}

void collective_destroy(struct collective *collective)
{
    if (collective != NULL)
        collective->ops->destroy(collective);
}

void collective_abort(struct collective *collective)
{
    collective->ops->abort(collective);
}

int collective_rank(const struct collective *collective)
{
    return collective->rank;
}

int collective_size(const struct collective *collective)
{
    return collective->size;
}

uint64_t collective_generation(const struct collective *collective)
{
    return collective->generation;
}

int collective_is_alone(const struct collective *collective)
{
    return collective->ops->is_alone;
}

int64_t collective_waited_us(const struct collective *collective)
{
    return collective->waited_us;
}

size_t reduce_op_bytes(enum reduce_op op)
{
    return op == REDUCE_SUM_DOUBLE ? sizeof(double) : sizeof(float);
}

/* An operation is called; the time. */
static int64_t begin(struct collective *collective)
{
    if (collective->pulse != NULL)
        atomic_fetch_add(&collective->pulse->operations, 1);
    return clock_us();
}

/* Ends what began at start_us. */
static enum status waited(struct collective *collective, int64_t start_us, enum status status)
{
    collective->waited_us += clock_us() - start_us;
    return status;
}

enum status collective_allreduce(struct collective *collective, void *data, size_t count,
                                 enum reduce_op op)
{
    range_check(collective, data, count * reduce_op_bytes(op));
    if (count == 0)
        return OK;
    int64_t start_us = begin(collective);
    return waited(collective, start_us, collective->ops->allreduce(collective, data, count, op));
}

static enum status make_cuts(struct collective *collective, const int colors[COLLECTIVE_CUTS])
{
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        TRY(collective->ops->split(collective, cut, colors[cut]));
        collective->colors[cut] = colors[cut];
    }
    return OK;
}

enum status collective_split(struct collective *collective, uint64_t key,
                             const int colors[COLLECTIVE_CUTS])
{
    CHECK(key != 0);
    if (key == collective->split_key)
        return OK;
    const int64_t start_us = begin(collective);
    collective->split_key = 0;
    TRY(waited(collective, start_us, make_cuts(collective, colors)));
    collective->split_key = key;
    return OK;
}

enum status collective_allreduce_within(struct collective *collective,
                                        const struct collective_part parts[COLLECTIVE_CUTS],
                                        enum reduce_op op)
{
    CHECK(collective->split_key != 0);
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        CHECK(parts[cut].count == 0 || collective->colors[cut] != COLLECTIVE_NO_COLOR);
        range_check(collective, parts[cut].count == 0 ? collective->region : parts[cut].data,
                    parts[cut].count * reduce_op_bytes(op));
    }
    int64_t start_us = begin(collective);
    return waited(collective, start_us, collective->ops->allreduce_within(collective, parts, op));
}

enum status collective_allreduce_start(struct collective *collective, void *data, size_t count,
                                       enum reduce_op op, uint64_t *ret_ticket)
{
    CHECK(count > 0);
    range_check(collective, data, count * reduce_op_bytes(op));
    int64_t start_us = begin(collective);
    return waited(collective, start_us,
                  collective->ops->allreduce_start(collective, data, count, op, ret_ticket));
}

enum status collective_wait(struct collective *collective, uint64_t ticket)
{
    int64_t start_us = clock_us();
    return waited(collective, start_us, collective->ops->wait(collective, ticket));
}

enum status collective_broadcast(struct collective *collective, void *data, size_t bytes, int root)
{
    CHECK(root >= 0 && root < collective->size);
    range_check(collective, data, bytes);
    if (bytes == 0)
        return OK;
    int64_t start_us = begin(collective);
    return waited(collective, start_us, collective->ops->broadcast(collective, data, bytes, root));
}

enum status collective_allgather(struct collective *collective, void *data, size_t bytes)
{
    range_check(collective, data, bytes * (size_t)collective->size);
    if (bytes == 0)
        return OK;
    int64_t start_us = begin(collective);
    return waited(collective, start_us, collective->ops->allgather(collective, data, bytes));
}
