/* events.c - events of the emulated GPU, and tasks that wait. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/emulated/emulator.h"
#include "worker/device/cuda/emulated/task.h"

#include <time.h>

#include "common/mem.h"

enum { NAP_NS = 200000 }; /* between two questions whether an event was reached */

static void leave_event(struct CUevent_st *event)
{
    if (--event->task_count == 0 && event->is_destroyed)
        mem_free(event);
}

int event_is_done(const struct task *task, int is_broken)
{
    if (task->is_wait && task->event->reached < task->event_count && !is_broken)
        return 0;
    if (!task->is_wait)
        task->event->reached = task->event_count;
    leave_event(task->event);
    return 1;
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    gpu_enter();
    if (flags != 0)
        return gpu_leave(cudaErrorInvalidValue);
    if (graph_forbids_in(stream))
        return gpu_leave(cudaErrorStreamCaptureIsolation);
    struct task *task = gpu_give(stream, 0);
    task->event = event;
    task->event_count = event->recorded;
    task->is_wait = 1;
    event->task_count++;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    gpu_enter();
    if (flags != cudaEventDisableTiming)
        return gpu_leave(cudaErrorInvalidValue);
    *event = mem_zero(sizeof(**event));
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    gpu_enter();
    event->is_destroyed = 1;
    event->task_count++;
    leave_event(event);
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    gpu_enter();
    if (graph_forbids_in(stream))
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    struct task *task = gpu_give(stream, 0);
    task->event = event;
    task->event_count = ++event->recorded;
    event->task_count++;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    gpu_enter();
    if (graph_forbids())
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    gpu_run();
    if (event->reached < event->recorded) {
        const cudaError_t error = gpu_leave(cudaSuccess);
        return error == cudaSuccess ? cudaErrorNotReady : error; /* nobody remembers NotReady */
    }
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    cudaError_t error;
    while ((error = cudaEventQuery(event)) == cudaErrorNotReady)
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    return error;
}

void emulator_task(cudaStream_t stream, int (*is_done)(void *data), void *data)
{
    gpu_enter();
    if (graph_forbids_in(stream)) {
        gpu_leave(cudaErrorStreamCaptureUnsupported);
        return;
    }
    struct task *task = gpu_give(stream, 0);
    task->is_done = is_done;
    task->data = data;
    gpu_leave(cudaSuccess);
}
