/* emulator.h - what tests ask of the emulated CUDA runtime beyond NVIDIA's calls.
 *
 * One emulated GPU for the process. All calls may come from any thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_EMULATOR_H
#define WORKER_DEVICE_CUDA_EMULATED_EMULATOR_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Blocks and the threads of a block run in an order that follows from the seed: a kernel that lacks
 * a barrier gives other results under another seed. */
void emulator_seed(uint64_t seed);

/* The n-th allocation (1: the next) from now fails with cudaErrorMemoryAllocation; 0: none. */
void emulator_fail_allocation(int n);
/* The n-th kernel from now breaks while it runs: every later call fails, as on a GPU. 0: none. */
void emulator_fail_kernel(int n);
/* The n-th capture from now cannot be ended, as with a library that does what a capture forbids; 0:
 * none. */
void emulator_fail_capture(int n);
/* What streams were given so far one by one, and graphs that were launched into them. */
uint64_t emulator_given(void);
uint64_t emulator_graphs(void);
/* Gives the process a working GPU again, as only a restart does with a real one. */
void emulator_reset(void);

/* Bytes of device memory that are allocated now. */
size_t emulator_allocated(void);
/* Compute capability that the GPU claims, 80 for sm_80 (the default: 90). */
void emulator_capability(int capability);

/* Runs a function in the stream, with a copy of `bytes` bytes at argument: for what a library's
 * kernels do on a GPU. It may touch device memory, and is recorded as a kernel is. */
cudaError_t emulator_call(cudaStream_t stream, void (*function)(void *argument),
                          const void *argument, size_t bytes);

/* Puts into a stream what does not end by itself, such as an exchange with another process: it is
 * asked again and again, may touch device memory meanwhile, and is done once is_done says so. What
 * comes behind it in the stream waits; is_done is not called again. */
void emulator_task(cudaStream_t stream, int (*is_done)(void *data), void *data);

#ifdef __cplusplus
}
#endif
#endif
