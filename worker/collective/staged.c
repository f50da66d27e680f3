/* staged.c - the mpi engine for memory of a GPU, by way of a copy on the host.
 *
 * The copy is as long as the region, so every operation has its place in it. Before an operation
 * its data come down, which waits for the device; after it they go up again. An operation that
 * fails leaves the device's memory as it was. This is for GPUs that no nccl engine can serve, such
 * as several members on one GPU: copies and backward do not overlap. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/check.h"
#include "common/mem.h"
#include "worker/collective/engine.h"
#include "worker/device/device.h"

/* What goes up when its ticket is done. */
struct staged_sum {
    uint64_t ticket;
    void *data;
    size_t bytes;
};

struct staged {
    struct collective base;
    struct collective *inner; /* mpi, on the copy */
    struct device *device;    /* borrowed */
    char *host;               /* the copy, in a memfd of its own */
    int fd;
    size_t pending_first, pending_count; /* a ring, in the order of tickets */
    struct staged_sum pending[COLLECTIVE_PENDING_MAX];
};

static void *place(const struct staged *staged, const void *data)
{
    return staged->host + ((const char *)data - staged->base.region);
}

static void go_down(const struct staged *staged, const void *data, size_t bytes)
{
    staged->device->ops->download(staged->device, place(staged, data), data, bytes);
}

static void go_up(const struct staged *staged, void *data, size_t bytes)
{
    staged->device->ops->upload(staged->device, data, place(staged, data), bytes);
}

static void staged_destroy(struct collective *collective)
{
    struct staged *staged = (struct staged *)collective;
    collective_destroy(staged->inner);
    if (staged->host != NULL)
        munmap(staged->host, staged->base.region_bytes);
    if (staged->fd >= 0)
        close(staged->fd);
    mem_free(staged);
}

static void staged_abort(struct collective *collective)
{
    struct staged *staged = (struct staged *)collective;
    collective_abort(staged->inner);
}

static enum status staged_allreduce(struct collective *collective, void *data, size_t count,
                                    enum reduce_op op)
{
    struct staged *staged = (struct staged *)collective;
    go_down(staged, data, count * reduce_op_bytes(op));
    TRY(staged->inner->ops->allreduce(staged->inner, place(staged, data), count, op));
    go_up(staged, data, count * reduce_op_bytes(op));
    return OK;
}

static enum status staged_split(struct collective *collective, int cut, int color)
{
    struct staged *staged = (struct staged *)collective;
    return staged->inner->ops->split(staged->inner, cut, color);
}

static enum status staged_allreduce_within(struct collective *collective,
                                           const struct collective_part parts[COLLECTIVE_CUTS],
                                           enum reduce_op op)
{
    struct staged *staged = (struct staged *)collective;
    struct collective_part inner[COLLECTIVE_CUTS] = {{0}};
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++) {
        if (parts[cut].count == 0)
            continue;
        go_down(staged, parts[cut].data, parts[cut].count * reduce_op_bytes(op));
        inner[cut] = (struct collective_part){place(staged, parts[cut].data), parts[cut].count};
    }
    TRY(staged->inner->ops->allreduce_within(staged->inner, inner, op));
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++)
        if (parts[cut].count > 0)
            go_up(staged, parts[cut].data, parts[cut].count * reduce_op_bytes(op));
    return OK;
}

static enum status staged_allreduce_start(struct collective *collective, void *data, size_t count,
                                          enum reduce_op op, uint64_t *ret_ticket)
{
    struct staged *staged = (struct staged *)collective;
    const size_t bytes = count * reduce_op_bytes(op);
    CHECK(staged->pending_count < COLLECTIVE_PENDING_MAX);
    go_down(staged, data, bytes);
    TRY(staged->inner->ops->allreduce_start(staged->inner, place(staged, data), count, op,
                                            ret_ticket));
    const size_t next = staged->pending_first + staged->pending_count++;
    staged->pending[next % COLLECTIVE_PENDING_MAX] = (struct staged_sum){*ret_ticket, data, bytes};
    return OK;
}

static enum status staged_wait(struct collective *collective, uint64_t ticket)
{
    struct staged *staged = (struct staged *)collective;
    TRY(staged->inner->ops->wait(staged->inner, ticket));
    while (staged->pending_count > 0) {
        const struct staged_sum *sum = &staged->pending[staged->pending_first];
        if (sum->ticket > ticket)
            break;
        go_up(staged, sum->data, sum->bytes);
        staged->pending_first = (staged->pending_first + 1) % COLLECTIVE_PENDING_MAX;
        staged->pending_count--;
    }
    return OK;
}

static enum status staged_broadcast(struct collective *collective, void *data, size_t bytes,
                                    int root)
{
    struct staged *staged = (struct staged *)collective;
    if (collective->rank == root)
        go_down(staged, data, bytes);
    TRY(staged->inner->ops->broadcast(staged->inner, place(staged, data), bytes, root));
    if (collective->rank != root)
        go_up(staged, data, bytes);
    return OK;
}

static enum status staged_allgather(struct collective *collective, void *data, size_t bytes)
{
    struct staged *staged = (struct staged *)collective;
    go_down(staged, (char *)data + (size_t)collective->rank * bytes, bytes);
    TRY(staged->inner->ops->allgather(staged->inner, place(staged, data), bytes));
    go_up(staged, data, bytes * (size_t)collective->size);
    return OK;
}

static const struct engine_ops staged_ops = {
    .name = "mpi",
    .destroy = staged_destroy,
    .abort = staged_abort,
    .allreduce = staged_allreduce,
    .split = staged_split,
    .allreduce_within = staged_allreduce_within,
    .allreduce_start = staged_allreduce_start,
    .wait = staged_wait,
    .broadcast = staged_broadcast,
    .allgather = staged_allgather,
};

static enum status make_copy(struct staged *staged)
{
    const size_t bytes = staged->base.region_bytes;
    void *memory = MAP_FAILED;
    staged->fd = memfd_create("everseer-staging", MFD_CLOEXEC);
    if (staged->fd >= 0 && ftruncate(staged->fd, (off_t)bytes) == 0)
        memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, staged->fd, 0);
    if (memory == MAP_FAILED)
        return fail(ERR_DEVICE, "cannot get %zu MiB of shared memory to copy the GPU's to: %s",
                    bytes >> 20, strerror(errno));
    staged->host = memory;
    return OK;
}

enum status collective_staged_form(const struct collective_group *group,
                                   struct collective **ret_collective)
{
    enum status status = OK;
    struct staged *staged = mem_zero(sizeof(*staged));
    staged->base.ops = &staged_ops;
    staged->base.region_bytes = group->region_bytes;
    staged->device = group->device;
    staged->fd = -1;
    TRY_OUT(make_copy(staged));
    struct collective_group inner = *group;
    inner.device = NULL;
    inner.region = staged->host;
    inner.region_fd = staged->fd;
    TRY_OUT(collective_form(&inner, &staged->inner));
    *ret_collective = &staged->base;
    staged = NULL; /* given to the caller */
out:
    if (staged != NULL)
        staged_destroy(&staged->base);
    return status;
}
