/* graph.c - streams of the emulated GPU that are captured, and graphs.
 *
 * A thread that captures may not do what NVIDIA's manual forbids in mode ThreadLocal, nor what it
 * leaves open and no code of ours needs: wait, allocate or free, copy from or to pageable memory,
 * or use events. Each spoils the capture, as it does there. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdlib.h>
#include <string.h>

#include "worker/device/cuda/emulated/emulator.h"
#include "worker/device/cuda/emulated/task.h"

struct CUgraph_st {
    struct task_list tasks;
    size_t count;
    int is_spoilt;
};

struct CUgraphExec_st {
    struct task_list tasks;
};

/* The stream that this thread captures; one at a time, which CUDA does not ask for. */
static _Thread_local cudaStream_t captured;
static int fail_capture;      /* guarded by gpu_enter, as all below */
static uint64_t launch_count; /* of graphs */

void task_list_init(struct task_list *list)
{
    list->first = NULL;
    list->last = &list->first;
}

void task_list_add(struct task_list *list, struct task *task)
{
    *list->last = task;
    list->last = &task->next;
}

void task_list_clear(struct task_list *list)
{
    while (list->first != NULL) {
        struct task *task = list->first;
        list->first = task->next;
        free(task);
    }
    list->last = &list->first;
}

/* Not of mem.h, whose calls the tests count: the runtime's own memory is none of the device's
 * business. */
struct task *task_new(size_t argument_bytes)
{
    struct task *task = calloc(1, sizeof(*task) + argument_bytes);
    if (task == NULL)
        abort();
    task->argument_bytes = argument_bytes;
    return task;
}

static struct task *task_copy(const struct task *task)
{
    struct task *copy = task_new(task->argument_bytes);
    memcpy(copy, task, sizeof(*task) + task->argument_bytes);
    copy->next = NULL;
    if (copy->grid.body != NULL)
        copy->grid.arguments = copy->arguments;
    return copy;
}

static void copy_tasks(const struct task_list *from, struct task_list *to)
{
    for (const struct task *task = from->first; task != NULL; task = task->next)
        task_list_add(to, task_copy(task));
}

void graph_add(struct CUgraph_st *graph, struct task *task)
{
    task_list_add(&graph->tasks, task);
    graph->count++;
}

int graph_forbids_in(cudaStream_t stream)
{
    if (stream->capture == NULL)
        return 0;
    stream->capture->is_spoilt = 1;
    return 1;
}

int graph_forbids(void)
{
    return captured != NULL && graph_forbids_in(captured);
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, enum cudaStreamCaptureMode mode)
{
    gpu_enter();
    if (mode != cudaStreamCaptureModeThreadLocal)
        return gpu_leave(cudaErrorInvalidValue);
    if (captured != NULL || stream->capture != NULL)
        return gpu_leave(cudaErrorIllegalState);
    struct CUgraph_st *graph = calloc(1, sizeof(*graph));
    if (graph == NULL)
        abort();
    task_list_init(&graph->tasks);
    graph->is_spoilt = fail_capture > 0 && --fail_capture == 0;
    stream->capture = graph;
    captured = stream;
    return gpu_leave(cudaSuccess);
}

static void graph_free(struct CUgraph_st *graph)
{
    task_list_clear(&graph->tasks);
    free(graph);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
    gpu_enter();
    *graph = NULL;
    if (captured != stream)
        return gpu_leave(cudaErrorIllegalState);
    struct CUgraph_st *capture = stream->capture;
    stream->capture = NULL;
    captured = NULL;
    const cudaError_t error =
        gpu_leave(capture->is_spoilt ? cudaErrorStreamCaptureInvalidated : cudaSuccess);
    if (error == cudaSuccess)
        *graph = capture;
    else
        graph_free(capture);
    return error;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *nodes, size_t *count)
{
    gpu_enter();
    if (nodes != NULL)
        return gpu_leave(cudaErrorInvalidValue); /* nobody asks which */
    *count = graph->count;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    gpu_enter();
    graph_free(graph);
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    gpu_enter();
    if (flags != 0 || graph_forbids())
        return gpu_leave(cudaErrorInvalidValue);
    struct CUgraphExec_st *made = calloc(1, sizeof(*made));
    if (made == NULL)
        abort();
    task_list_init(&made->tasks);
    copy_tasks(&graph->tasks, &made->tasks);
    *exec = made;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream)
{
    gpu_enter();
    if (graph_forbids_in(stream))
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    copy_tasks(&exec->tasks, &stream->tasks);
    launch_count++;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    gpu_enter();
    task_list_clear(&exec->tasks);
    free(exec);
    return gpu_leave(cudaSuccess);
}

void emulator_fail_capture(int n)
{
    gpu_enter();
    fail_capture = n;
    gpu_leave(cudaSuccess);
}

uint64_t emulator_graphs(void)
{
    gpu_enter();
    const uint64_t count = launch_count;
    gpu_leave(cudaSuccess);
    return count;
}
