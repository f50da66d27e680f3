/* cuda_images.c - the next batch's images come over the bus while the GPU computes.
 *
 * They go through a ring of page-locked memory, which alone can be copied from beside the host, in
 * a stream of their own. Two events order it: a copy begins when the last images_normalize has read
 * what it overwrites, and the next images_normalize begins when the copy is done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/cuda.h"

#include <string.h>

static enum status check(const struct cuda *cuda, cudaError_t error)
{
    if (error == cudaSuccess)
        return OK;
    return fail(ERR_DEVICE, "cuda:%d: images: %s", cuda->index, cudaGetErrorString(error));
}

enum status cuda_images_start(struct cuda *cuda)
{
    struct cuda_images *images = &cuda->images;
    TRY(check(cuda, cudaStreamCreateWithFlags(&images->stream, cudaStreamNonBlocking)));
    TRY(check(cuda, cudaEventCreateWithFlags(&images->read, cudaEventDisableTiming)));
    TRY(check(cuda, cudaEventCreateWithFlags(&images->arrived, cudaEventDisableTiming)));
    for (int i = 0; i < CUDA_RING; i++)
        TRY(check(cuda, cudaEventCreateWithFlags(&images->ring[i].copied, cudaEventDisableTiming)));
    return OK;
}

static void event_stop(cudaEvent_t event)
{
    if (event != NULL)
        cudaEventDestroy(event);
}

void cuda_images_stop(struct cuda *cuda)
{
    struct cuda_images *images = &cuda->images;
    if (images->stream != NULL)
        cudaStreamSynchronize(images->stream);
    for (int i = 0; i < CUDA_RING; i++) {
        event_stop(images->ring[i].copied);
        cudaFreeHost(images->ring[i].memory);
    }
    event_stop(images->arrived);
    event_stop(images->read);
    if (images->stream != NULL)
        cudaStreamDestroy(images->stream);
    *images = (struct cuda_images){0};
}

/* Its last copy is done, and it is large enough. 0: there is not so much page-locked memory. */
static int is_free(struct cuda *cuda, struct cuda_place *place, size_t bytes)
{
    cuda_note(cuda, "images", cudaEventSynchronize(place->copied));
    if (place->bytes >= bytes)
        return 1;
    cudaFreeHost(place->memory);
    *place = (struct cuda_place){.copied = place->copied};
    if (cudaHostAlloc(&place->memory, bytes, cudaHostAllocDefault) != cudaSuccess) {
        cudaGetLastError(); /* running out is no failure of the device: forget it */
        place->memory = NULL;
        return 0;
    }
    place->bytes = bytes;
    return 1;
}

int cuda_images_ahead(struct device *device, void *to, const void *host, size_t bytes)
{
    struct cuda *cuda = (struct cuda *)device;
    struct cuda_images *images = &cuda->images;
    struct cuda_place *place = &images->ring[images->next];
    cuda_stream(device); /* its GPU is the thread's from here on */
    if (!is_free(cuda, place, bytes))
        return 0;
    images->next = (images->next + 1) % CUDA_RING;
    memcpy(place->memory, host, bytes);
    cuda_note(cuda, "images", cudaStreamWaitEvent(images->stream, images->read, 0));
    cuda_note(cuda, "images",
              cudaMemcpyAsync(to, place->memory, bytes, cudaMemcpyHostToDevice, images->stream));
    cuda_note(cuda, "images", cudaEventRecord(place->copied, images->stream));
    cuda_note(cuda, "images", cudaEventRecord(images->arrived, images->stream));
    images->is_awaited = 1;
    return 1;
}

void cuda_images_join(struct device *device)
{
    struct cuda *cuda = (struct cuda *)device;
    if (cuda->images.is_awaited)
        cuda_note(cuda, "images", cudaStreamWaitEvent(cuda->stream, cuda->images.arrived, 0));
    cuda->images.is_awaited = 0;
}

void cuda_images_read(struct device *device)
{
    struct cuda *cuda = (struct cuda *)device;
    cuda_note(cuda, "images", cudaEventRecord(cuda->images.read, cuda->stream));
}
