/* simd.h - one function, compiled for several CPUs; the dynamic linker picks one at the start.
 *
 * The functions marked SIMD_CLONES are plain C in integers, or in floats without contraction, so
 * every clone computes the same bytes. CMakeLists.txt says what the mark stands for: target_clones
 * where compiler and sanitizer know it, else nothing. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SIMD_H
#define LOADER_SIMD_H

/* What such a function calls must become part of it, or it stays code for the base architecture. */
#define SIMD_INLINE static inline __attribute__((always_inline))

#endif
