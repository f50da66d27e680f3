/* cuda_record.c - recordings: the device's stream is captured and becomes a CUDA graph.
 *
 * Mode ThreadLocal: what other threads of the process do with the GPU meanwhile (NCCL, which forms
 * the next generation) is their own business. Kernels' arguments are part of the graph, so numbers
 * that change from step to step must lie in memory. A graph has no say in what libraries need:
 * their workspaces are scratch of the device, which recordings_epoch watches. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/cuda.h"

#include "common/mem.h"

struct recording {
    cudaGraphExec_t graph;
};

static enum status unrecorded(const struct cuda *cuda, const char *what, cudaError_t error)
{
    cudaGetLastError(); /* no failure of the device: forget it */
    return fail(ERR_DEVICE, "cuda:%d: %s: %s", cuda->index, what, cudaGetErrorString(error));
}

enum status cuda_record_begin(struct device *device)
{
    struct cuda *cuda = (struct cuda *)device;
    cudaStream_t stream = cuda_stream(device);
    if (cuda->is_failed)
        return fail(ERR_DEVICE, "%s", cuda->failure);
    const cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
    if (error != cudaSuccess)
        return unrecorded(cuda, "begin of a capture", error);
    cuda->unrecorded[0] = '\0';
    cuda->is_recording = 1;
    return OK;
}

static enum status instantiate(const struct cuda *cuda, cudaGraph_t graph,
                               struct recording **ret_recording)
{
    size_t count = 0;
    cudaGraphExec_t made = NULL;
    cudaError_t error = cudaGraphGetNodes(graph, NULL, &count);
    if (error != cudaSuccess)
        return unrecorded(cuda, "nodes of a graph", error);
    if (count > 0) {
        error = cudaGraphInstantiate(&made, graph, 0);
        if (error != cudaSuccess)
            return unrecorded(cuda, "making of a graph", error);
    }
    *ret_recording = NULL;
    if (made != NULL) {
        *ret_recording = mem_zero(sizeof(**ret_recording));
        (*ret_recording)->graph = made;
    }
    return OK;
}

enum status cuda_record_end(struct device *device, struct recording **ret_recording)
{
    struct cuda *cuda = (struct cuda *)device;
    cudaGraph_t graph = NULL;
    const cudaError_t error = cudaStreamEndCapture(cuda_stream(device), &graph);
    enum status status = OK;
    cuda->is_recording = 0;
    if (cuda->unrecorded[0] != '\0') { /* the cause of what the runtime says now */
        cudaGetLastError();
        status = fail(ERR_DEVICE, "%s", cuda->unrecorded);
    } else if (error != cudaSuccess) {
        status = unrecorded(cuda, "end of a capture", error);
    } else {
        status = instantiate(cuda, graph, ret_recording);
    }
    if (graph != NULL)
        cudaGraphDestroy(graph);
    return status;
}

void cuda_replay(struct device *device, struct recording *recording)
{
    cuda_note((struct cuda *)device, "replay",
              cudaGraphLaunch(recording->graph, cuda_stream(device)));
}

void cuda_recording_destroy(struct device *device, struct recording *recording)
{
    struct cuda *cuda = (struct cuda *)device;
    if (recording == NULL)
        return;
    cuda_note(cuda, "recording", cudaStreamSynchronize(cuda_stream(device)));
    cuda_note(cuda, "recording", cudaGraphExecDestroy(recording->graph));
    mem_free(recording);
}

uint64_t cuda_recordings_epoch(struct device *device)
{
    return ((struct cuda *)device)->epoch;
}
