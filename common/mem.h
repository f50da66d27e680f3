/* mem.h - allocation that never returns NULL.
 *
 * Running out of host memory aborts, naming size and caller: no daemon of ours can do anything
 * sensible without it, and its state is safe on disk. Any size that comes from a peer, a file or a
 * config is checked against a named limit before it gets here. Memory of a device is device.h's. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* bytes of uninitialised memory; mem_free gives it back. bytes == 0 gives a unique pointer. */
void *mem_alloc(size_t bytes);
/* As mem_alloc, zeroed. */
void *mem_zero(size_t bytes);
/* count elements of size bytes each, zeroed; aborts when the product overflows. */
void *mem_array(size_t count, size_t size);
/* Grows or shrinks; old contents kept up to the smaller size. */
void *mem_resize(void *memory, size_t bytes);
/* Aligned to 64 bytes (a cache line, an AVX-512 register), zeroed; mem_free gives it back. */
void *mem_aligned(size_t bytes);
/* A copy of a string; NULL stays NULL. */
char *mem_string(const char *string);
/* printf into a new string. */
char *mem_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* NULL is fine. */
void mem_free(void *memory);
/* For who allocates by itself, such as a library: ends as mem_alloc does when there is none. */
void mem_run_out(const char *who) __attribute__((noreturn));

/* How often this process has called an allocating function of this page so far. A steady-state
 * training step must not move it; tests/unit/test_learner.c asserts so. */
uint64_t mem_call_count(void);

#ifdef __cplusplus
}
#endif
#endif
