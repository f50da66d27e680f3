/* x86_level.c - the features that x86-64-v3 and v4 add. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/x86_level.h"

#include <cpuid.h>

int x86_level(void)
{
    __builtin_cpu_init();
    const int is_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const int is_v4 = is_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return is_v4 ? 4 : is_v3 ? 3 : 0;
}

int x86_has_bf16(void)
{
    return x86_level() == 4 && __builtin_cpu_supports("avx512bf16");
}

/* Not asked of __builtin_cpu_supports: clang 14 does not know the name. */
int x86_has_amx_bf16(void)
{
    enum { LEAF_FEATURES = 7, AMX_BF16_BIT = 22 };
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(LEAF_FEATURES, 0, &a, &b, &c, &d) && (d >> AMX_BF16_BIT & 1);
}
