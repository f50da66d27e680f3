/* launch.h - how a kernel gets into a stream of the emulated runtime. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_LAUNCH_H
#define WORKER_DEVICE_CUDA_EMULATED_LAUNCH_H

#include <cuda_runtime_api.h>

#include "worker/device/cuda/emulated/grid.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Copies the arguments; errors as of a launch, by cudaGetLastError. */
void launch_grid(const struct grid *grid, size_t argument_bytes, cudaStream_t stream);

#ifdef __cplusplus
}
#endif
#endif
