/* nccl.c - the engine for members with a GPU each.
 *
 * Operations run in two streams of their own beside the device's: small ones in one, buckets in the
 * other, ordered by events. The host waits for none but at collective_wait, broadcast and
 * allgather: sums inside a step are ordered by the GPU alone, and a sum that hangs is found at the
 * end of the step, or by the server's deadlines, which come in through cancel_fd. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/mem.h"
#include "worker/collective/engine.h"
#include "worker/collective/nccl_comms.h"
#include "worker/device/cuda/cuda.h"

/* A sum in the background. */
struct nccl_sum {
    cudaEvent_t done;
    float *data; /* gets what came over the wire in bf16; NULL: it travelled as it is */
    void *wire;
    size_t count;
};

struct nccl {
    struct collective base;
    struct nccl_comms comms;
    struct device *device; /* borrowed; a struct cuda */
    int64_t timeout_ms;
    enum status broken; /* once not OK, stays */
    cudaStream_t small_stream, bucket_stream;
    cudaEvent_t ready;      /* what the device had to do before an operation is done */
    cudaEvent_t small_done; /* the last of the small ones */
    int has_small;          /* since the last wait */
    struct nccl_sum sums[COLLECTIVE_PENDING_MAX]; /* by ticket */
    uint64_t started, finished;                   /* tickets */
    enum collective_wire wire;
    char *wire_memory; /* of the device; borrowed */
    size_t wire_bytes, wire_used;
};

static enum status broken_by(struct nccl *nccl, enum status status)
{
    if (status != OK)
        nccl->broken = status;
    return status;
}

static enum status cuda_ok(struct nccl *nccl, const char *what, cudaError_t error)
{
    if (error == cudaSuccess)
        return OK;
    return broken_by(nccl, fail(ERR_DEVICE, "cuda: %s: %s", what, cudaGetErrorString(error)));
}

static enum status check(const struct nccl *nccl)
{
    return nccl->broken == OK ? OK
                              : fail(nccl->broken, "collective of generation %" PRIu64 " ended",
                                     nccl->comms.generation);
}

/* Behind all that the device was given so far. */
static enum status launch(struct nccl *nccl, const struct nccl_call *call, cudaEvent_t done)
{
    cudaStream_t stream = call->comm == NCCL_BUCKETS ? nccl->bucket_stream : nccl->small_stream;
    TRY(check(nccl));
    TRY(cuda_ok(nccl, "record", cudaEventRecord(nccl->ready, cuda_stream(nccl->device))));
    TRY(cuda_ok(nccl, "wait", cudaStreamWaitEvent(stream, nccl->ready, 0)));
    TRY(broken_by(nccl,
                  nccl_comms_call(&nccl->comms, call, stream, clock_ms() + nccl->timeout_ms)));
    return cuda_ok(nccl, "record", cudaEventRecord(done, stream));
}

/* What the device is given from now on comes after the event. */
static enum status follow(struct nccl *nccl, cudaEvent_t done)
{
    return cuda_ok(nccl, "wait", cudaStreamWaitEvent(cuda_stream(nccl->device), done, 0));
}

/* The host waits for the event. */
static enum status await(struct nccl *nccl, cudaEvent_t done, int64_t deadline_ms)
{
    TRY(check(nccl));
    cuda_stream(nccl->device); /* its GPU is the thread's from here on */
    for (int64_t nap_us = 0;; nccl_comms_nap(&nccl->comms, &nap_us)) {
        const cudaError_t error = cudaEventQuery(done);
        /* In this order: what an abort ended looks done as well. */
        TRY(broken_by(nccl, nccl_comms_check(&nccl->comms)));
        if (error != cudaErrorNotReady)
            return cuda_ok(nccl, "collective", error);
        if (clock_ms() >= deadline_ms)
            return broken_by(nccl, fail(ERR_TIMEOUT,
                                        "collective of generation %" PRIu64
                                        ": not done before the deadline",
                                        nccl->comms.generation));
    }
}

static ncclDataType_t type_of(enum reduce_op op)
{
    return op == REDUCE_SUM_DOUBLE ? ncclFloat64 : ncclFloat32;
}

static enum status small_sum(struct nccl *nccl, int comm, void *data, size_t count,
                             enum reduce_op op)
{
    const struct nccl_call call = {.kind = NCCL_ALLREDUCE,
                                   .comm = comm,
                                   .send = data,
                                   .receive = data,
                                   .count = count,
                                   .type = type_of(op),
                                   .op = op == REDUCE_MAX ? ncclMax : ncclSum};
    TRY(launch(nccl, &call, nccl->small_done));
    nccl->has_small = 1;
    return follow(nccl, nccl->small_done);
}

static enum status nccl_allreduce(struct collective *collective, void *data, size_t count,
                                  enum reduce_op op)
{
    return small_sum((struct nccl *)collective, NCCL_WORLD, data, count, op);
}

static enum status nccl_split(struct collective *collective, int cut, int color)
{
    struct nccl *nccl = (struct nccl *)collective;
    TRY(check(nccl));
    cuda_stream(nccl->device); /* its GPU is the thread's from here on */
    return broken_by(nccl, nccl_comms_split(&nccl->comms, cut, color, collective->rank,
                                            clock_ms() + nccl->timeout_ms));
}

/* One stream, and the cuts in the same order for all: who is in two subgroups holds up nobody for
 * longer than one of them takes. */
static enum status nccl_allreduce_within(struct collective *collective,
                                         const struct collective_part parts[COLLECTIVE_CUTS],
                                         enum reduce_op op)
{
    struct nccl *nccl = (struct nccl *)collective;
    TRY(check(nccl));
    for (int cut = 0; cut < COLLECTIVE_CUTS; cut++)
        if (parts[cut].count > 0)
            TRY(small_sum(nccl, NCCL_CUTS + cut, parts[cut].data, parts[cut].count, op));
    return OK;
}

/* Room for `count` values on the wire until all that is under way is done. */
static void *take_wire(struct nccl *nccl, size_t count)
{
    const size_t bytes = count * sizeof(uint16_t);
    char *wire = nccl->wire_memory + nccl->wire_used;
    CHECK(bytes <= nccl->wire_bytes - nccl->wire_used);
    nccl->wire_used += (bytes + COLLECTIVE_WIRE_ALIGNMENT - 1) / COLLECTIVE_WIRE_ALIGNMENT *
                       COLLECTIVE_WIRE_ALIGNMENT;
    return wire;
}

static enum status nccl_allreduce_start(struct collective *collective, void *data, size_t count,
                                        enum reduce_op op, uint64_t *ret_ticket)
{
    struct nccl *nccl = (struct nccl *)collective;
    struct nccl_sum *sum = &nccl->sums[nccl->started % COLLECTIVE_PENDING_MAX];
    struct nccl_call call = {.kind = NCCL_ALLREDUCE,
                             .comm = NCCL_BUCKETS,
                             .send = data,
                             .receive = data,
                             .count = count,
                             .type = type_of(op),
                             .op = op == REDUCE_MAX ? ncclMax : ncclSum};
    CHECK(nccl->started - nccl->finished < COLLECTIVE_PENDING_MAX);
    sum->data = NULL;
    if (op == REDUCE_SUM_GRADIENTS && nccl->wire == WIRE_BF16) {
        sum->wire = take_wire(nccl, count);
        sum->data = data;
        sum->count = count;
        cuda_ops_bf16.from_float(nccl->device, data, count, sum->wire);
        call.send = call.receive = sum->wire;
        call.type = ncclBfloat16;
    }
    TRY(launch(nccl, &call, sum->done));
    *ret_ticket = nccl->started++;
    return OK;
}

static enum status nccl_wait(struct collective *collective, uint64_t ticket)
{
    struct nccl *nccl = (struct nccl *)collective;
    const int64_t deadline_ms = clock_ms() + nccl->timeout_ms;
    TRY(check(nccl));
    CHECK(ticket < nccl->started);
    if (nccl->has_small)
        TRY(await(nccl, nccl->small_done, deadline_ms));
    nccl->has_small = 0;
    while (nccl->finished <= ticket) {
        const struct nccl_sum *sum = &nccl->sums[nccl->finished % COLLECTIVE_PENDING_MAX];
        TRY(await(nccl, sum->done, deadline_ms));
        TRY(follow(nccl, sum->done));
        if (sum->data != NULL)
            cuda_ops_bf16.to_float(nccl->device, sum->wire, sum->count, sum->data);
        nccl->finished++;
    }
    if (nccl->finished == nccl->started)
        nccl->wire_used = 0; /* what is rounded next comes behind what was read, in one stream */
    return OK;
}

static enum status launch_and_await(struct nccl *nccl, const struct nccl_call *call)
{
    TRY(launch(nccl, call, nccl->small_done));
    TRY(await(nccl, nccl->small_done, clock_ms() + nccl->timeout_ms));
    nccl->has_small = 0;
    return follow(nccl, nccl->small_done);
}

static enum status nccl_broadcast(struct collective *collective, void *data, size_t bytes, int root)
{
    const struct nccl_call call = {.kind = NCCL_BROADCAST,
                                   .comm = NCCL_WORLD,
                                   .send = data,
                                   .receive = data,
                                   .count = bytes,
                                   .type = ncclUint8,
                                   .root = root};
    return launch_and_await((struct nccl *)collective, &call);
}

static enum status nccl_allgather(struct collective *collective, void *data, size_t bytes)
{
    const struct nccl_call call = {.kind = NCCL_ALLGATHER,
                                   .comm = NCCL_WORLD,
                                   .send = (char *)data + (size_t)collective->rank * bytes,
                                   .receive = data,
                                   .count = bytes,
                                   .type = ncclUint8};
    return launch_and_await((struct nccl *)collective, &call);
}

static void nccl_abort(struct collective *collective)
{
    nccl_comms_stop(&((struct nccl *)collective)->comms);
}

static void nccl_destroy(struct collective *collective)
{
    struct nccl *nccl = (struct nccl *)collective;
    nccl_comms_end(&nccl->comms);
    cudaSetDevice(nccl->comms.gpu);
    if (nccl->small_stream != NULL)
        cudaStreamDestroy(nccl->small_stream);
    if (nccl->bucket_stream != NULL)
        cudaStreamDestroy(nccl->bucket_stream);
    for (int i = 0; i < COLLECTIVE_PENDING_MAX; i++)
        if (nccl->sums[i].done != NULL)
            cudaEventDestroy(nccl->sums[i].done);
    if (nccl->ready != NULL)
        cudaEventDestroy(nccl->ready);
    if (nccl->small_done != NULL)
        cudaEventDestroy(nccl->small_done);
    mem_free(nccl);
}

static const struct engine_ops nccl_ops = {
    .name = "nccl",
    .destroy = nccl_destroy,
    .abort = nccl_abort,
    .allreduce = nccl_allreduce,
    .split = nccl_split,
    .allreduce_within = nccl_allreduce_within,
    .allreduce_start = nccl_allreduce_start,
    .wait = nccl_wait,
    .broadcast = nccl_broadcast,
    .allgather = nccl_allgather,
};

static enum status make_stream(struct nccl *nccl, cudaStream_t *stream)
{
    return cuda_ok(nccl, "stream", cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
}

static enum status make_event(struct nccl *nccl, cudaEvent_t *event)
{
    return cuda_ok(nccl, "event", cudaEventCreateWithFlags(event, cudaEventDisableTiming));
}

/* In whatever thread forms: the device's own stream is not touched. */
static enum status make_streams(struct nccl *nccl, int gpu)
{
    TRY(cuda_ok(nccl, "set device", cudaSetDevice(gpu)));
    TRY(make_stream(nccl, &nccl->small_stream));
    TRY(make_stream(nccl, &nccl->bucket_stream));
    TRY(make_event(nccl, &nccl->ready));
    TRY(make_event(nccl, &nccl->small_done));
    for (int i = 0; i < COLLECTIVE_PENDING_MAX; i++)
        TRY(make_event(nccl, &nccl->sums[i].done));
    return OK;
}

enum status collective_nccl_form(const struct collective_group *group,
                                 struct collective **ret_collective)
{
    enum status status = OK;
    if (group->device == NULL || strcmp(group->device->ops->name, "cuda") != 0)
        return fail(ERR_INPUT, "collective engine 'nccl' is for GPUs: set collective.engine to "
                               "auto, or start every worker with --device cuda:N");
    const int gpu = ((const struct cuda *)group->device)->index;
    struct nccl *nccl = mem_zero(sizeof(*nccl));
    nccl->base.ops = &nccl_ops;
    nccl->base.region_bytes = group->region_bytes;
    nccl->device = group->device;
    nccl->timeout_ms = group->timeout_ms;
    nccl->wire = group->wire;
    nccl->wire_memory = group->wire_memory;
    nccl->wire_bytes = group->wire_bytes;
    TRY_OUT(nccl_comms_form(&nccl->comms, group, gpu));
    TRY_OUT(make_streams(nccl, gpu));
    *ret_collective = &nccl->base;
    nccl = NULL; /* given to the caller */
out:
    if (nccl != NULL)
        nccl_destroy(&nccl->base);
    return status;
}
