/* grid.h - runs a kernel over a grid of blocks on the host, and sees what it does wrong.
 *
 * Blocks run one after the other, the threads of a block as fibers that rest at barriers and warp
 * exchanges; who goes on is drawn from the seed. Seen and reported, not guessed around: a barrier
 * or exchange that some threads never reach or that others reach elsewhere, and more shared memory
 * than a block has. Shared memory is full of NaN when a block starts.
 *
 * The second half is called by kernels, through launch_emulated.h. One grid at a time: the caller
 * (runtime.c) holds its lock. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_GRID_H
#define WORKER_DEVICE_CUDA_EMULATED_GRID_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct uint3 {
    unsigned x, y, z;
};

enum { WARP_SIZE = 32, BLOCK_THREADS_MAX = 1024, SHARED_BYTES_MAX = 48 << 10 };

struct grid {
    const char *name; /* of the kernel */
    struct uint3 blocks, threads;
    void (*body)(const void *arguments); /* one thread of the kernel */
    const void *arguments;
};

/* 1 if a GPU could launch it: sizes from 1 to the limits of CUDA. */
int grid_is_valid(const struct grid *grid);
/* Runs it. NULL, or what is wrong with the kernel (valid until the next call). */
const char *grid_run(const struct grid *grid, uint64_t seed);

/* For kernels: of the running thread. */
extern struct uint3 grid_thread, grid_block, grid_threads, grid_blocks;

/* Waits for the whole block. */
void grid_barrier(const char *file, int line);
/* Waits for the warp; the values that its lanes gave, valid until the thread's next call. */
const uint64_t *grid_exchange(const char *file, int line, uint64_t value);
/* Lane of the running thread. */
int grid_lane(void);
/* Says that the block uses this shared memory; poisons it at the first call of a block. */
void grid_shared(void *memory, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
