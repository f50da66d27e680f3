/* x86_level.h - what an x86-64 processor can run; not there on others. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_X86_LEVEL_H
#define COMMON_X86_LEVEL_H

/* 4 or 3: all that kernels compiled for x86-64-v4 (AVX-512) or v3 (AVX2) may use is there; else 0.
 * Any thread. */
int x86_level(void);
/* 1: level 4 and avx512_bf16, which rounds to bf16 and multiplies it. Any thread. */
int x86_has_bf16(void);
/* 1: it multiplies tiles of bf16 (AMX), many times faster than vectors. Any thread. */
int x86_has_amx_bf16(void);

#endif
