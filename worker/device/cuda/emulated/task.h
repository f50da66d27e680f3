/* task.h - what streams of the emulated GPU have to do; between its own files. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_TASK_H
#define WORKER_DEVICE_CUDA_EMULATED_TASK_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/device/cuda/emulated/grid.h"

struct CUevent_st {
    uint64_t recorded, reached; /* times */
    int task_count;             /* tasks that name it */
    int is_destroyed;           /* by its owner; the last task frees it */
};

/* What a stream has to do, in a list. */
struct task {
    struct task *next;
    struct grid grid; /* a kernel, if body is not NULL */
    cudaHostFn_t function;
    int (*is_done)(void *data);
    void *data; /* of function or is_done */
    struct CUevent_st *event;
    uint64_t event_count; /* reached by this task, or waited for */
    int is_wait;          /* for the event */
    char *to;             /* a copy, or a fill if from is NULL */
    const void *from;     /* may be bytes that were taken along: arguments */
    size_t bytes;
    int value;
    max_align_t arguments[]; /* of the kernel; or the source of a copy from the host */
};

/* Every call into the runtime lies between these two; leave passes on the error, or a worse one. */
void gpu_enter(void);
cudaError_t gpu_leave(cudaError_t error);
/* A task at the end of the stream with `bytes` bytes of arguments. */
struct task *gpu_give(cudaStream_t stream, size_t bytes);
/* Does all that can be done now. */
void gpu_run(void);

/* Waits for every stream. */
void gpu_finish(void);

/* locked.c: whether all of it is page-locked. */
int locked_holds(const void *memory, size_t bytes);

/* events.c: a task with an event. Nobody waits on a broken GPU. */
int event_is_done(const struct task *task, int is_broken);

#endif
