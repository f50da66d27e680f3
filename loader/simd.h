/* simd.h - one function, compiled for several CPUs; the dynamic linker picks one at the start.
 *
 * The functions marked so are plain C in integers, or in floats without contraction, so every clone
 * computes the same bytes. What lacks it runs the base architecture: clang 14 does not know the
 * attribute, and ThreadSanitizer breaks its resolvers, which run before the sanitizer is set up. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SIMD_H
#define LOADER_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(__SANITIZE_THREAD__)
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SIMD_CLONES
#endif

/* What such a function calls must become part of it, or it stays code for the base architecture. */
#define SIMD_INLINE static inline __attribute__((always_inline))

#endif
