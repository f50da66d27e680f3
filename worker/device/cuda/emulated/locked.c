/* locked.c - page-locked host memory of the emulated GPU: copies read it when they happen. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdlib.h>

#include "common/mem.h"
#include "worker/device/cuda/emulated/task.h"

struct locked {
    char *memory;
    size_t bytes;
    struct locked *next;
};

static struct locked *all;

int locked_holds(const void *memory, size_t bytes)
{
    const char *p = memory;
    for (const struct locked *l = all; l != NULL; l = l->next)
        if (p >= l->memory && p + bytes <= l->memory + l->bytes)
            return 1;
    return 0;
}

cudaError_t cudaHostAlloc(void **memory, size_t bytes, unsigned flags)
{
    gpu_enter();
    if (flags != cudaHostAllocDefault || bytes == 0)
        return gpu_leave(cudaErrorInvalidValue);
    if (graph_forbids())
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    struct locked *locked = mem_zero(sizeof(*locked));
    *locked = (struct locked){malloc(bytes), bytes, all};
    if (locked->memory == NULL)
        abort();
    all = locked;
    *memory = locked->memory;
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaFreeHost(void *memory)
{
    gpu_enter();
    if (memory == NULL)
        return gpu_leave(cudaSuccess);
    if (graph_forbids())
        return gpu_leave(cudaErrorStreamCaptureUnsupported);
    for (struct locked **at = &all; *at != NULL; at = &(*at)->next)
        if ((*at)->memory == memory) {
            struct locked *locked = *at;
            *at = locked->next;
            gpu_finish(); /* NVIDIA's waits for the device too */
            free(locked->memory);
            mem_free(locked);
            return gpu_leave(cudaSuccess);
        }
    return gpu_leave(cudaErrorInvalidValue);
}
