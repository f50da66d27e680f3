/* cpu_isa_x86.c - which of our kernels this x86-64 processor can run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include <stddef.h>

extern const struct device_ops cpu_ops_plain, cpu_ops_avx2, cpu_ops_avx512;
extern const struct group8_ops group8_ops_avx512;

const struct cpu_isa *cpu_isa_list(void)
{
    static const struct cpu_isa all[] = {
        {"avx512", &cpu_ops_avx512, &group8_ops_avx512},
        {"avx2", &cpu_ops_avx2, NULL},
        {"plain", &cpu_ops_plain, NULL},
        {0},
    };
    __builtin_cpu_init();
    /* The features that x86-64-v4 and v3 add and our compiler flags therefore may use. */
    const int is_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const int is_v4 = is_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return is_v4 ? all : is_v3 ? all + 1 : all + 2;
}
