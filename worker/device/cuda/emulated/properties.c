/* properties.c - what the emulated GPU says of itself. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <stdio.h>

#include "worker/device/cuda/emulated/emulator.h"
#include "worker/device/cuda/emulated/task.h"

/* Small enough that a test can fill it. */
const size_t gpu_total_bytes = (size_t)2 << 30;

static int capability = 90; /* guarded by gpu_enter */

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int device)
{
    gpu_enter();
    if (device != 0)
        return gpu_leave(cudaErrorInvalidDevice);
    *properties = (struct cudaDeviceProp){
        .name = "emulated GPU",
        .totalGlobalMem = gpu_total_bytes,
        .major = capability / 10,
        .minor = capability % 10,
    };
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaDeviceGetPCIBusId(char *address, int bytes, int device)
{
    gpu_enter();
    if (device != 0)
        return gpu_leave(cudaErrorInvalidDevice);
    snprintf(address, (size_t)bytes, "0000:65:00.0");
    return gpu_leave(cudaSuccess);
}

cudaError_t cudaSetDevice(int device)
{
    gpu_enter();
    return gpu_leave(device == 0 ? cudaSuccess : cudaErrorInvalidDevice);
}

void emulator_capability(int wanted)
{
    gpu_enter();
    capability = wanted;
    gpu_leave(cudaSuccess);
}
