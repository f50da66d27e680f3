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

/* Tasks in their order. */
struct task_list {
    struct task *first, **last;
};

struct CUstream_st {
    struct task_list tasks;
    struct CUgraph_st *capture; /* takes what the stream is given; NULL: none */
    struct CUstream_st *next;   /* of all streams */
};

/* What a stream has to do. */
struct task {
    struct task *next;
    struct grid grid;                 /* a kernel, if body is not NULL */
    void (*function)(void *argument); /* a library's */
    int (*is_done)(void *data);
    void *data; /* of is_done */
    struct CUevent_st *event;
    uint64_t event_count; /* reached by this task, or waited for */
    int is_wait;          /* for the event */
    char *to;             /* a copy, or a fill if from is NULL */
    const void *from;     /* may be bytes that were taken along: arguments */
    size_t bytes;
    int value;
    size_t argument_bytes;
    max_align_t arguments[]; /* of the kernel or function; or the source of a copy from the host */
};

/* Of its memory. */
extern const size_t gpu_total_bytes;

/* Every call into the runtime lies between these two; leave passes on the error, or a worse one. */
void gpu_enter(void);
cudaError_t gpu_leave(cudaError_t error);
/* A task at the end of the stream, or of what it captures, with `bytes` bytes of arguments. */
struct task *gpu_give(cudaStream_t stream, size_t bytes);
/* Does all that can be done now. */
void gpu_run(void);

/* Waits for every stream. */
void gpu_finish(void);

void task_list_init(struct task_list *list);
void task_list_add(struct task_list *list, struct task *task);
void task_list_clear(struct task_list *list);

/* graph.c. The calling thread captures, and asked for what that forbids: the capture is spoilt. */
int graph_forbids(void);
/* The same if it is this stream that is captured. */
int graph_forbids_in(cudaStream_t stream);
void graph_add(struct CUgraph_st *graph, struct task *task);
/* With room for arguments, in no list. */
struct task *task_new(size_t argument_bytes);

/* locked.c: whether all of it is page-locked. */
int locked_holds(const void *memory, size_t bytes);

/* events.c: a task with an event. Nobody waits on a broken GPU. */
int event_is_done(const struct task *task, int is_broken);

#endif
