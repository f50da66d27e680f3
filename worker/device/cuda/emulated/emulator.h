/* emulator.h - what tests ask of the emulated CUDA runtime beyond NVIDIA's calls.
 *
 * One emulated GPU for the process. All calls may come from any thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_EMULATOR_H
#define WORKER_DEVICE_CUDA_EMULATED_EMULATOR_H

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
/* Gives the process a working GPU again, as only a restart does with a real one. */
void emulator_reset(void);

/* Bytes of device memory that are allocated now. */
size_t emulator_allocated(void);
/* Compute capability that the GPU claims, 80 for sm_80 (the default: 90). */
void emulator_capability(int capability);

#ifdef __cplusplus
}
#endif
#endif
