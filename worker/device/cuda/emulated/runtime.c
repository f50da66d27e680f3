/* runtime.c - memory, streams and errors of the emulated CUDA runtime. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <cuda_runtime_api.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/mem.h"
#include "worker/device/cuda/emulated/emulator.h"
#include "worker/device/cuda/emulated/launch.h"
#include "worker/device/cuda/emulated/task.h"

enum { ALIGNMENT = 256 };
/* Between two questions whether a task that waits for others is done. */
enum { NAP_NS = 200000 };

/* Present only in builds with AddressSanitizer. */
extern void __asan_poison_memory_region(const volatile void *memory, size_t bytes)
    __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *memory, size_t bytes)
    __attribute__((weak));

struct allocation {
    char *memory;
    size_t bytes;
    struct allocation *next;
};

static struct {
    struct allocation *allocations;
    size_t allocated;
    struct CUstream_st *streams;
    uint64_t seed;
    uint64_t given; /* tasks, those of graphs not counted */
    int fail_allocation, fail_kernel;
    cudaError_t last_error;
    cudaError_t broken; /* once not cudaSuccess, every call says so */
    char words[300];    /* for cudaErrorLaunchFailure */
} gpu;
/* One GPU, one thing at a time: guards gpu, every stream and grid.c. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void gpu_enter(void)
{
    pthread_mutex_lock(&lock);
}

cudaError_t gpu_leave(cudaError_t error)
{
    if (gpu.broken != cudaSuccess)
        error = gpu.broken;
    if (error != cudaSuccess)
        gpu.last_error = error;
    pthread_mutex_unlock(&lock);
    return error;
}

static void host_may_touch(const struct allocation *allocation, int may)
{
    if (may && __asan_unpoison_memory_region != NULL)
        __asan_unpoison_memory_region(allocation->memory, allocation->bytes);
    if (!may && __asan_poison_memory_region != NULL)
        __asan_poison_memory_region(allocation->memory, allocation->bytes);
}

static void memory_open(int is_open)
{
    for (const struct allocation *a = gpu.allocations; a != NULL; a = a->next)
        host_may_touch(a, is_open);
}

static void break_gpu(const char *words)
{
    gpu.broken = cudaErrorLaunchFailure;
    snprintf(gpu.words, sizeof(gpu.words), "unspecified launch failure: %s", words);
}

static void run_kernel(const struct task *task)
{
    if (gpu.fail_kernel > 0 && --gpu.fail_kernel == 0) {
        break_gpu("a test wanted it");
        return;
    }
    const char *wrong = grid_run(&task->grid, gpu.seed++);
    if (wrong != NULL)
        break_gpu(wrong);
}

static void run_task(const struct task *task)
{
    if (gpu.broken != cudaSuccess)
        return;
    if (task->function != NULL)
        task->function((void *)task->arguments);
    else if (task->grid.body != NULL)
        run_kernel(task);
    else if (task->from != NULL)
        memmove(task->to, task->from, task->bytes);
    else
        memset(task->to, task->value, task->bytes);
}

/* 0: it waits for something. */
static int is_task_done(const struct task *task)
{
    if (task->event != NULL)
        return event_is_done(task, gpu.broken != cudaSuccess);
    if (task->is_done != NULL)
        return task->is_done(task->data);
    run_task(task);
    return 1;
}

/* Runs the stream up to the first task that waits; how many were done. */
static int run_stream(cudaStream_t stream)
{
    int count = 0;
    struct task_list *tasks = &stream->tasks;
    while (tasks->first != NULL && is_task_done(tasks->first)) {
        struct task *task = tasks->first;
        tasks->first = task->next;
        free(task);
        count++;
    }
    if (tasks->first == NULL)
        tasks->last = &tasks->first;
    return count;
}

/* All that can be done now. */
void gpu_run(void)
{
    int count = 1;
    memory_open(1);
    while (count > 0) {
        count = 0;
        for (struct CUstream_st *stream = gpu.streams; stream != NULL; stream = stream->next)
            count += run_stream(stream);
    }
    memory_open(0);
}

static int is_busy(const struct CUstream_st *stream)
{
    for (const struct CUstream_st *s = gpu.streams; s != NULL; s = s->next)
        if ((stream == NULL || s == stream) && s->tasks.first != NULL)
            return 1;
    return 0;
}

/* Until the stream (NULL: every one) has done all it has to; others may take the lock meanwhile. */
static void finish(const struct CUstream_st *stream)
{
    gpu_run();
    while (is_busy(stream)) {
        pthread_mutex_unlock(&lock);
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
        gpu_enter();
        gpu_run();
    }
}

void gpu_finish(void)
{
    finish(NULL);
}

struct task *gpu_give(cudaStream_t stream, size_t bytes)
{
    struct task *task = task_new(bytes);
    if (stream->capture != NULL) {
        graph_add(stream->capture, task);
        return task;
    }
    gpu.given++;
    task_list_add(&stream->tasks, task);
    return task;
}

/* NULL, or the allocation that holds all of it. */
static const struct allocation *allocation_of(const void *memory, size_t bytes)
{
    const char *p = memory;
    for (const struct allocation *a = gpu.allocations; a != NULL; a = a->next)
        if (p >= a->memory && p <= a->memory + a->bytes &&
            bytes <= (size_t)(a->memory + a->bytes - p))
            return a;
    return NULL;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    gpu_enter();
    if (flags != cudaStreamNonBlocking)
        return gpu_leave(cudaErrorInvalidValue);
    *stream = mem_zero(sizeof(**stream));
    task_list_init(&(*stream)->tasks);
    (*stream)->next = gpu.streams;
    gpu.streams = *stream;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    gpu_enter();
    if (graph_forbids())
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    finish(stream);
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    gpu_enter();
    if (graph_forbids())
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    finish(stream);
    for (struct CUstream_st **at = &gpu.streams; *at != NULL; at = &(*at)->next)
        if (*at == stream) {
            *at = stream->next;
            break;
        }
    mem_free(stream);
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total)
{
    gpu_enter();
    *free_bytes = gpu_total_bytes - gpu.allocated;
    *total = gpu_total_bytes;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    gpu_enter();
    if (graph_forbids())
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    const int is_to_fail = gpu.fail_allocation > 0 && --gpu.fail_allocation == 0;
    if (gpu.broken != cudaSuccess || is_to_fail || bytes > gpu_total_bytes - gpu.allocated)
        return gpu_leave(cudaErrorMemoryAllocation);
    struct allocation *allocation = mem_zero(sizeof(*allocation));
    void *got = NULL;
    if (posix_memalign(&got, ALIGNMENT, bytes) != 0)
        abort();
    memset(got, 0xff, bytes); /* fresh memory holds anything */
    *allocation = (struct allocation){got, bytes, gpu.allocations};
    gpu.allocations = allocation;
    gpu.allocated += bytes;
    host_may_touch(allocation, 0);
    *memory = got;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaFree(void *memory)
{
    gpu_enter();
    if (memory == NULL)
        return gpu_leave(cudaSuccess);
    if (graph_forbids())
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    finish(NULL); /* as cudaFree waits for the device */
    for (struct allocation **at = &gpu.allocations; *at != NULL; at = &(*at)->next)
        if ((*at)->memory == memory) {
            struct allocation *allocation = *at;
            *at = allocation->next;
            gpu.allocated -= allocation->bytes;
            host_may_touch(allocation, 1);
            free(allocation->memory);
            mem_free(allocation);
            return gpu_leave(cudaSuccess);
        }
    return gpu_leave(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t stream)
{
    gpu_enter();
    const int to_device = kind != cudaMemcpyDeviceToHost;
    const int from_device = kind != cudaMemcpyHostToDevice;
    if ((allocation_of(to, bytes) != NULL) != to_device ||
        (allocation_of(from, bytes) != NULL) != from_device)
        return gpu_leave(cudaErrorInvalidValue);
    const int is_locked =
        from_device && to_device ? 1 : locked_holds(from_device ? to : from, bytes);
    if (!is_locked && graph_forbids_in(stream))
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    /* Pageable host memory has been read when the call returns. */
    const int is_read_later = from_device || is_locked;
    struct task *task = gpu_give(stream, is_read_later ? 0 : bytes);
    task->to = to;
    task->bytes = bytes;
    task->from = is_read_later ? from : memcpy(task->arguments, from, bytes);
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream)
{
    gpu_enter();
    if (allocation_of(memory, bytes) == NULL)
        return gpu_leave(cudaErrorInvalidValue);
    struct task *task = gpu_give(stream, 0);
    task->to = memory;
    task->bytes = bytes;
    task->value = value;
    return gpu_leave(cudaSuccess);
}

cudaError_t emulator_call(cudaStream_t stream, void (*function)(void *argument),
                          const void *argument, size_t bytes)
{
    gpu_enter();
    struct task *task = gpu_give(stream, bytes);
    task->function = function;
    memcpy(task->arguments, argument, bytes);
    return gpu_leave(cudaSuccess);
}

void launch_grid(const struct grid *grid, size_t argument_bytes, cudaStream_t stream)
{
    gpu_enter();
    if (!grid_is_valid(grid)) {
        gpu_leave(cudaErrorInvalidConfiguration);
        return;
    }
    struct task *task = gpu_give(stream, argument_bytes);
    task->grid = *grid;
    task->grid.arguments = memcpy(task->arguments, grid->arguments, argument_bytes);
    gpu_leave(cudaSuccess);
}

cudaError_t cudaGetLastError(void)
{
    gpu_enter();
    const cudaError_t error = gpu.broken != cudaSuccess ? gpu.broken : gpu.last_error;
    gpu.last_error = cudaSuccess;
    pthread_mutex_unlock(&lock);
    return error;
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    case cudaErrorIllegalState:
        return "the operation cannot be performed in the present state";
    case cudaErrorStreamCaptureUnsupported:
        return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated:
        return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureIsolation:
        return "dependency created on uncaptured work in another stream";
    case cudaErrorNotReady:
        return "device not ready";
    case cudaErrorLaunchFailure:
        return gpu.words;
    }
    return "unrecognized error code";
}

void emulator_seed(uint64_t seed)
{
    gpu_enter();
    gpu.seed = seed;
    pthread_mutex_unlock(&lock);
}

void emulator_fail_allocation(int n)
{
    gpu_enter();
    gpu.fail_allocation = n;
    pthread_mutex_unlock(&lock);
}

void emulator_fail_kernel(int n)
{
    gpu_enter();
    gpu.fail_kernel = n;
    pthread_mutex_unlock(&lock);
}

void emulator_reset(void)
{
    gpu_enter();
    gpu.broken = gpu.last_error = cudaSuccess;
    gpu.fail_allocation = gpu.fail_kernel = 0;
    pthread_mutex_unlock(&lock);
}

size_t emulator_allocated(void)
{
    gpu_enter();
    const size_t bytes = gpu.allocated;
    pthread_mutex_unlock(&lock);
    return bytes;
}

uint64_t emulator_given(void)
{
    gpu_enter();
    const uint64_t count = gpu.given;
    pthread_mutex_unlock(&lock);
    return count;
}
