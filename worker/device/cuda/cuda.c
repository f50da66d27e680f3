/* cuda.c - a GPU as a device: its memory, its stream, its life. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/cuda.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "worker/device/cuda/conv_engine.h"
#include "worker/device/cuda/conv_layout.h"
#include "worker/device/cuda/gemm_engine.h"
#include "worker/device/cuda/kernels.h"

/* bf16 arithmetic is in hardware from here on. */
enum { CAPABILITY_BF16 = 80 };

static const struct kind {
    const char *name;
    const struct device_ops *ops;
    const struct cuda_packing *packing;
} kinds[] = {
    [CUDA_BF16] = {"bf16", &cuda_ops_bf16, &cuda_packing_bf16},
    [CUDA_FP16] = {"fp16", &cuda_ops_fp16, &cuda_packing_fp16},
    [CUDA_FP32] = {"fp32", &cuda_ops_fp32, &cuda_packing_fp32},
};

void cuda_failed(struct cuda *cuda, const char *what, const char *words)
{
    char *to = cuda->is_recording ? cuda->unrecorded : cuda->failure;
    if (to[0] != '\0')
        return;
    cuda->is_failed |= !cuda->is_recording;
    snprintf(to, sizeof(cuda->failure), "cuda:%d: %s: %s", cuda->index, what, words);
}

void cuda_note(struct cuda *cuda, const char *what, cudaError_t error)
{
    if (error != cudaSuccess)
        cuda_failed(cuda, what, cudaGetErrorString(error));
}

cudaStream_t cuda_stream(struct device *device)
{
    struct cuda *cuda = (struct cuda *)device;
    /* The current GPU is a thread's own, and whoever created the device may be another thread. */
    cuda_note(cuda, "set device", cudaSetDevice(cuda->index));
    return cuda->stream;
}

void cuda_launched(struct device *device, const char *kernel)
{
    cuda_note((struct cuda *)device, kernel, cudaGetLastError());
}

void *cuda_parts(struct device *device, size_t bytes)
{
    struct cuda *cuda = (struct cuda *)device;
    if (bytes > cuda->parts.bytes) {
        cuda_failed(cuda, "partial sums", "there are more of them than this program has room for");
        return NULL;
    }
    return cuda->parts.memory;
}

static enum status no_memory(const struct cuda *cuda, size_t bytes, cudaError_t error)
{
    return fail(ERR_DEVICE,
                "cuda:%d: cannot get %zu MiB of memory: %s; use a smaller batch or a GPU with more",
                cuda->index, bytes >> 20, cudaGetErrorString(error));
}

enum status cuda_allocate(struct device *device, size_t bytes, int *ret_fd, void **ret_memory)
{
    struct cuda *cuda = (struct cuda *)device;
    cudaStream_t stream = cuda_stream(device);
    void *memory = NULL;
    const size_t wanted = bytes == 0 ? 1 : bytes; /* cudaMalloc gives NULL for nothing */
    cudaError_t error = cudaMalloc(&memory, wanted);
    if (error != cudaSuccess) {
        cudaGetLastError(); /* running out is no failure of the device: forget it */
        return no_memory(cuda, bytes, error);
    }
    error = cudaMemsetAsync(memory, 0, wanted, stream);
    if (error != cudaSuccess) {
        cudaFree(memory);
        return no_memory(cuda, bytes, error);
    }
    cuda->held += wanted;
    cuda->peak = cuda->held > cuda->peak ? cuda->held : cuda->peak;
    if (ret_fd != NULL)
        *ret_fd = -1; /* other processes see copies in memory of the host */
    *ret_memory = memory;
    return OK;
}

void cuda_release(struct device *device, void *memory, size_t bytes, int fd)
{
    struct cuda *cuda = (struct cuda *)device;
    (void)fd;
    if (memory == NULL)
        return;
    cuda_stream(device);
    cuda_note(cuda, "release", cudaFree(memory)); /* waits */
    cuda->held -= bytes == 0 ? 1 : bytes;
}

void cuda_memory(struct device *device, struct device_memory *ret_memory)
{
    struct cuda *cuda = (struct cuda *)device;
    size_t free = 0, total = 0;
    cuda_stream(device);
    cuda_note(cuda, "memory", cudaMemGetInfo(&free, &total));
    *ret_memory = (struct device_memory){
        .held = cuda->held,
        .peak = cuda->peak,
        .fixed = cuda->fixed,
        .shared = {cuda->padded[0].bytes, cuda->padded[1].bytes, cuda->grad.bytes},
        .free = free,
    };
}

static void move(struct device *device, void *to, const void *from, size_t bytes,
                 enum cudaMemcpyKind kind, const char *what)
{
    if (bytes > 0)
        cuda_note((struct cuda *)device, what,
                  cudaMemcpyAsync(to, from, bytes, kind, cuda_stream(device)));
}

/* Pageable memory has been read when the call returns. */
void cuda_upload(struct device *device, void *to, const void *host, size_t bytes)
{
    struct cuda *cuda = (struct cuda *)device;
    if (cuda->is_recording) { /* the runtime may take it, and read what is there at every replay */
        cuda_failed(cuda, "upload", "memory of the host is gone when a recording is replayed");
        return;
    }
    cuda_images_join(device); /* to may be where images are on their way to */
    move(device, to, host, bytes, cudaMemcpyHostToDevice, "upload");
}

/* On a device that failed, or records, the host gets NaN: nothing that could be taken for a result.
 */
void cuda_download(struct device *device, void *host, const void *from, size_t bytes)
{
    struct cuda *cuda = (struct cuda *)device;
    move(device, host, from, bytes, cudaMemcpyDeviceToHost, "download");
    cuda_note(cuda, "download", cudaStreamSynchronize(cuda_stream(device)));
    if ((cuda->is_failed || cuda->is_recording) && bytes > 0)
        memset(host, 0xff, bytes);
}

void cuda_copy(struct device *device, void *to, const void *from, size_t bytes)
{
    move(device, to, from, bytes, cudaMemcpyDeviceToDevice, "copy");
}

void cuda_zero(struct device *device, void *memory, size_t bytes)
{
    if (bytes > 0)
        cuda_note((struct cuda *)device, "zero",
                  cudaMemsetAsync(memory, 0, bytes, cuda_stream(device)));
}

enum status cuda_synchronize(struct device *device)
{
    struct cuda *cuda = (struct cuda *)device;
    cuda_note(cuda, "synchronize", cudaStreamSynchronize(cuda_stream(device)));
    if (cuda->is_failed)
        return fail(ERR_DEVICE, "%s", cuda->failure);
    return OK;
}

const char *cuda_describe(struct device *device)
{
    return ((struct cuda *)device)->description;
}

const char *cuda_address(struct device *device)
{
    return ((struct cuda *)device)->address;
}

static void scratch_done(struct cuda *cuda, struct cuda_scratch *scratch)
{
    cuda_release(&cuda->device, scratch->memory, scratch->bytes, -1);
    *scratch = (struct cuda_scratch){0};
}

enum status cuda_scratch_grow(struct cuda *cuda, struct cuda_scratch *scratch, size_t bytes)
{
    if (bytes <= scratch->bytes)
        return OK;
    cuda->epoch += scratch->memory != NULL;
    scratch_done(cuda, scratch);
    TRY(cuda_allocate(&cuda->device, bytes, NULL, &scratch->memory));
    scratch->bytes = bytes;
    return OK;
}

void cuda_destroy(struct device *device)
{
    struct cuda *cuda = (struct cuda *)device;
    if (cuda == NULL)
        return;
    if (cuda->stream != NULL)
        cudaStreamSynchronize(cuda_stream(device)); /* what it says no longer matters */
    cuda_images_stop(cuda);
    conv_engines_stop(cuda);
    gemm_engine_stop(cuda);
    scratch_done(cuda, &cuda->rule);
    scratch_done(cuda, &cuda->parts);
    scratch_done(cuda, &cuda->padded[0]);
    scratch_done(cuda, &cuda->padded[1]);
    scratch_done(cuda, &cuda->grad);
    if (cuda->stream != NULL)
        cudaStreamDestroy(cuda->stream);
    mem_free(cuda);
}

void cuda_rows_begin(struct device *device, int rows, const void *const passing[ROWS_PASSING_MAX])
{
    (void)device, (void)rows, (void)passing;
}

void cuda_rows_end(struct device *device)
{
    (void)device;
}

void cuda_tune(struct device *device, const char *folder)
{
    conv_engines_tune((struct cuda *)device, folder);
}

static enum status check(const struct cuda *cuda, const char *what, cudaError_t error)
{
    if (error == cudaSuccess)
        return OK;
    return fail(ERR_DEVICE, "cuda:%d: %s: %s", cuda->index, what, cudaGetErrorString(error));
}

static enum status gpu_properties(int index, struct cudaDeviceProp *ret_properties)
{
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);
    if (error != cudaSuccess)
        return fail(ERR_DEVICE, "cuda:%d: %s", index, cudaGetErrorString(error));
    if (index >= count)
        return fail(ERR_DEVICE, "cuda:%d: there %s %d GPU%s here, cuda:0 is the first", index,
                    count == 1 ? "is" : "are", count, count == 1 ? "" : "s");
    if (cudaGetDeviceProperties(ret_properties, index) != cudaSuccess)
        return fail(ERR_DEVICE, "cuda:%d: %s", index, cudaGetErrorString(cudaGetLastError()));
    return OK;
}

static enum status start(struct cuda *cuda, const struct cudaDeviceProp *properties)
{
    snprintf(cuda->description, sizeof(cuda->description), "%s, sm_%d%d, %zu MiB, %s activations",
             properties->name, properties->major, properties->minor,
             properties->totalGlobalMem >> 20, kinds[cuda->values].name);
    snprintf(cuda->gpu, sizeof(cuda->gpu), "%s", properties->name);
    TRY(check(cuda, "set device", cudaSetDevice(cuda->index)));
    TRY(check(cuda, "address",
              cudaDeviceGetPCIBusId(cuda->address, (int)sizeof(cuda->address), cuda->index)));
    TRY(check(cuda, "stream", cudaStreamCreateWithFlags(&cuda->stream, cudaStreamNonBlocking)));
    TRY(cuda_images_start(cuda));
    TRY(cuda_scratch_grow(cuda, &cuda->rule, sizeof(struct optimizer_rule)));
    TRY(cuda_scratch_grow(cuda, &cuda->parts, CUDA_PARTS_BYTES));
    TRY(gemm_engine_start(cuda));
    TRY(conv_engines_start(cuda));
    cuda->fixed = cuda->held;
    return cuda_synchronize(&cuda->device);
}

enum status cuda_create(int index, enum cuda_values values, struct device **ret_device)
{
    struct cudaDeviceProp properties;
    TRY(gpu_properties(index, &properties));
    if (values == CUDA_BF16 && 10 * properties.major + properties.minor < CAPABILITY_BF16)
        return fail(ERR_DEVICE,
                    "cuda:%d: %s (sm_%d%d) computes no bf16; use cuda:%d:fp16 in a run with "
                    "train.loss_scale: 65536, or cuda:%d:fp32",
                    index, properties.name, properties.major, properties.minor, index, index);
    struct cuda *cuda = mem_zero(sizeof(*cuda));
    cuda->device.ops = kinds[values].ops;
    cuda->device.is_asynchronous = 1;
    cuda->index = index;
    cuda->values = values;
    cuda->packing = kinds[values].packing;
    const enum status status = start(cuda, &properties);
    if (status != OK) {
        cuda_destroy(&cuda->device);
        return status;
    }
    *ret_device = &cuda->device;
    return OK;
}

static enum status values_named(const char *name, enum cuda_values *ret_values)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (strcmp(kinds[i].name, name) == 0) {
            *ret_values = (enum cuda_values)i;
            return OK;
        }
    return fail(ERR_INPUT, "device: activations '%s' are not known: use bf16, fp16 or fp32", name);
}

enum status device_cuda_create(int index, const char *activations, struct device **ret_device)
{
    enum cuda_values values = CUDA_BF16;
    if (activations != NULL)
        TRY(values_named(activations, &values));
    return cuda_create(index, values, ret_device);
}
