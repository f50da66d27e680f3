/* simd.h - one function, compiled for several CPUs; the loader picks one when the program starts.
 *
 * The functions marked so are plain C in integers, or in floats without contraction, so every clone
 * computes the same bytes. clang 14 lacks the attribute: there the base architecture runs. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_SIMD_H
#define LOADER_SIMD_H

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SIMD_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define SIMD_CLONES
#endif

#endif
