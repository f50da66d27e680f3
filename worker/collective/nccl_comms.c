/* nccl_comms.c - every call into NCCL, and the thread that aborts. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/nccl_comms.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

_Static_assert((int)COLLECTIVE_ID_BYTES == (int)NCCL_UNIQUE_ID_BYTES,
               "members meet by an ncclUniqueId");

/* Neither NCCL nor CUDA tells by an event that something is done: it must be asked again. */
enum { NAP_MIN_US = 20, NAP_MAX_US = 500 };

/* As the watchdog does: EX_SOFTWARE is an accident, to be started again. */
static void give_up(const struct nccl_comms *comms, const char *what)
{
    log_error("event=hang thread=collective generation=%" PRIu64
              " what=\"%s\" after_ms=%lld action=\"exit %d; start it again\"",
              comms->generation, what, (long long)comms->abort_timeout_ms, EX_SOFTWARE);
    _exit(EX_SOFTWARE);
}

static struct timespec time_in(int64_t ms)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_sec += ms / 1000;
    time.tv_nsec += ms % 1000 * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

void nccl_comms_nap(const struct nccl_comms *comms, int64_t *nap_us)
{
    struct pollfd polled = {.fd = comms->cancel_fd, .events = POLLIN};
    *nap_us = *nap_us == 0 ? NAP_MIN_US : *nap_us * 2 < NAP_MAX_US ? *nap_us * 2 : NAP_MAX_US;
    const struct timespec nap = {.tv_nsec = *nap_us * 1000};
    const int is_watched = comms->cancel_fd > 0 && !atomic_load(&comms->is_aborted);
    ppoll(&polled, is_watched ? 1 : 0, &nap, NULL);
}

/* All of a generation in one group: aborted one by one they can wait for each other. The parent
 * first: that ends a split under way, which may have made its child before. */
static void abort_all(struct nccl_comms *comms)
{
    const struct timespec deadline = time_in(comms->abort_timeout_ms);
    if (pthread_mutex_clocklock(&comms->lock, CLOCK_MONOTONIC, &deadline) != 0)
        give_up(comms, "a call into NCCL does not return");
    cudaSetDevice(comms->gpu);
    ncclGroupStart();
    for (int i = 0; i < NCCL_COMMS; i++)
        if (comms->comms[i] != NULL)
            ncclCommAbort(comms->comms[i]);
    ncclGroupEnd();
    memset(comms->comms, 0, sizeof(comms->comms));
    pthread_mutex_unlock(&comms->lock);
}

static void watcher_run(void *argument)
{
    struct nccl_comms *comms = argument;
    struct pollfd polled[2] = {{.fd = comms->stop_fd, .events = POLLIN},
                               {.fd = comms->cancel_fd, .events = POLLIN}};
    while (poll(polled, comms->cancel_fd > 0 ? 2 : 1, -1) < 0)
        CHECK(errno == EINTR);
    atomic_store(&comms->is_aborted, 1);
    abort_all(comms);
    pthread_mutex_lock(&comms->end_lock);
    comms->has_ended = 1;
    pthread_cond_signal(&comms->ended);
    pthread_mutex_unlock(&comms->end_lock);
}

/* Under the lock. */
static enum status stale(const struct nccl_comms *comms)
{
    return fail(ERR_STALE, "collective of generation %" PRIu64 " aborted", comms->generation);
}

static enum status failed(const struct nccl_comms *comms, const char *what, ncclResult_t result,
                          ncclComm_t comm)
{
    return fail(ERR_UNREACHABLE, "collective of generation %" PRIu64 ": %s: %s: %s",
                comms->generation, what, ncclGetErrorString(result), ncclGetLastError(comm));
}

/* Under the lock, which it lets go while it waits: until the communicator is no more in progress.
 */
static enum status settle(struct nccl_comms *comms, int index, const char *what,
                          ncclResult_t result, int64_t deadline_ms)
{
    for (int64_t nap_us = 0;;) {
        if (atomic_load(&comms->is_aborted))
            return stale(comms);
        if (result == ncclInProgress &&
            ncclCommGetAsyncError(comms->comms[index], &result) != ncclSuccess)
            result = ncclInternalError;
        if (result == ncclSuccess)
            return OK;
        if (result != ncclInProgress)
            return failed(comms, what, result, comms->comms[index]);
        if (clock_ms() >= deadline_ms)
            return fail(ERR_TIMEOUT, "collective of generation %" PRIu64 ": %s: not done in time",
                        comms->generation, what);
        pthread_mutex_unlock(&comms->lock);
        nccl_comms_nap(comms, &nap_us);
        pthread_mutex_lock(&comms->lock);
    }
}

static ncclResult_t call(ncclComm_t comm, const struct nccl_call *c, cudaStream_t stream)
{
    switch (c->kind) {
    case NCCL_BROADCAST:
        return ncclBroadcast(c->send, c->receive, c->count, c->type, c->root, comm, stream);
    case NCCL_ALLGATHER:
        return ncclAllGather(c->send, c->receive, c->count, c->type, comm, stream);
    case NCCL_ALLREDUCE:
        break;
    }
    return ncclAllReduce(c->send, c->receive, c->count, c->type, c->op, comm, stream);
}

enum status nccl_comms_call(struct nccl_comms *comms, const struct nccl_call *c,
                            cudaStream_t stream, int64_t deadline_ms)
{
    pthread_mutex_lock(&comms->lock);
    const enum status status =
        atomic_load(&comms->is_aborted)
            ? stale(comms)
            : settle(comms, c->comm, "call", call(comms->comms[c->comm], c, stream), deadline_ms);
    pthread_mutex_unlock(&comms->lock);
    return status;
}

enum status nccl_comms_check(struct nccl_comms *comms)
{
    enum status status = OK;
    pthread_mutex_lock(&comms->lock);
    for (int i = 0; i < NCCL_COMMS && status == OK; i++) {
        ncclResult_t result = ncclSuccess;
        if (atomic_load(&comms->is_aborted))
            status = stale(comms);
        else if (comms->comms[i] == NULL)
            continue;
        else if (ncclCommGetAsyncError(comms->comms[i], &result) != ncclSuccess ||
                 (result != ncclSuccess && result != ncclInProgress))
            status = failed(comms, "operation", result, comms->comms[i]);
    }
    pthread_mutex_unlock(&comms->lock);
    return status;
}

static enum status meet(const struct collective_group *group, int64_t deadline_ms,
                        ncclUniqueId *ret_id)
{
    uint8_t bytes[COLLECTIVE_ID_BYTES];
    if (group->rank > 0) {
        TRY(group->await(group->errand, deadline_ms, bytes));
        memcpy(ret_id, bytes, sizeof(bytes));
        return OK;
    }
    const ncclResult_t result = ncclGetUniqueId(ret_id);
    if (result != ncclSuccess)
        return fail(ERR_DEVICE, "NCCL finds no network for members to meet: %s: %s",
                    ncclGetErrorString(result), ncclGetLastError(NULL));
    memcpy(bytes, ret_id, sizeof(bytes));
    if (group->size > 1)
        group->publish(group->errand, bytes);
    return OK;
}

/* Under the lock: splits `index` off the world. The parent is asked how that goes, since NCCL gives
 * the child when it is complete. Children that share with their parent share its abort too: none
 * does. */
static enum status split(struct nccl_comms *comms, int index, int color, int rank,
                         int64_t deadline_ms)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    config.splitShare = 0;
    return settle(
        comms, NCCL_WORLD, "splitting",
        ncclCommSplit(comms->comms[NCCL_WORLD], color, rank, &comms->comms[index], &config),
        deadline_ms);
}

/* Under the lock. */
static enum status make_comms(struct nccl_comms *comms, const struct collective_group *group,
                              ncclUniqueId id, int64_t deadline_ms)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    if (atomic_load(&comms->is_aborted))
        return stale(comms); /* the watcher has been here: what is made now nobody would abort */
    TRY(settle(
        comms, NCCL_WORLD, "forming",
        ncclCommInitRankConfig(&comms->comms[NCCL_WORLD], group->size, id, group->rank, &config),
        deadline_ms));
    return split(comms, NCCL_BUCKETS, 0, group->rank, deadline_ms);
}

enum status nccl_comms_form(struct nccl_comms *comms, const struct collective_group *group, int gpu)
{
    const int64_t deadline_ms = clock_ms() + group->form_timeout_ms;
    ncclUniqueId id;
    *comms = (struct nccl_comms){.generation = group->generation,
                                 .gpu = gpu,
                                 .cancel_fd = group->cancel_fd,
                                 .stop_fd = eventfd(0, EFD_CLOEXEC),
                                 .abort_timeout_ms = group->abort_timeout_ms};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&comms->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&comms->lock, NULL);
    pthread_mutex_init(&comms->end_lock, NULL);
    if (comms->stop_fd < 0)
        return fail(ERR_IO, "eventfd: %s", strerror(errno));
    TRY(meet(group, deadline_ms, &id));
    TRY(thread_start(&comms->watcher, "collective", watcher_run, comms));
    pthread_mutex_lock(&comms->lock);
    const enum status status = make_comms(comms, group, id, deadline_ms);
    pthread_mutex_unlock(&comms->lock);
    return status;
}

enum status nccl_comms_split(struct nccl_comms *comms, int cut, int color, int rank,
                             int64_t deadline_ms)
{
    const int index = NCCL_CUTS + cut;
    pthread_mutex_lock(&comms->lock);
    enum status status = atomic_load(&comms->is_aborted) ? stale(comms) : OK;
    if (status == OK && comms->comms[index] != NULL) {
        ncclCommAbort(comms->comms[index]);
        comms->comms[index] = NULL;
    }
    if (status == OK)
        status = split(comms, index, color == COLLECTIVE_NO_COLOR ? NCCL_SPLIT_NOCOLOR : color,
                       rank, deadline_ms);
    pthread_mutex_unlock(&comms->lock);
    return status;
}

void nccl_comms_stop(struct nccl_comms *comms)
{
    atomic_store(&comms->is_aborted, 1);
    CHECK(eventfd_write(comms->stop_fd, 1) == 0);
}

void nccl_comms_end(struct nccl_comms *comms)
{
    if (comms->watcher.is_running) {
        const struct timespec deadline = time_in(comms->abort_timeout_ms);
        int error = 0;
        nccl_comms_stop(comms);
        pthread_mutex_lock(&comms->end_lock);
        while (!comms->has_ended && error == 0)
            error = pthread_cond_timedwait(&comms->ended, &comms->end_lock, &deadline);
        if (!comms->has_ended)
            give_up(comms, "NCCL does not abort");
        pthread_mutex_unlock(&comms->end_lock);
        thread_stop(&comms->watcher);
    }
    if (comms->stop_fd >= 0)
        close(comms->stop_fd);
    pthread_cond_destroy(&comms->ended);
    pthread_mutex_destroy(&comms->end_lock);
    pthread_mutex_destroy(&comms->lock);
}
