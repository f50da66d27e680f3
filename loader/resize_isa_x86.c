/* resize_isa_x86.c - which of the kernels this x86-64 processor can run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/resize_kernels.h"

extern const struct resize_kernels resize_kernels_plain, resize_kernels_avx2, resize_kernels_avx512;

const struct resize_kernels *const *resize_kernels_list(void)
{
    static const struct resize_kernels *const all[] = {&resize_kernels_avx512, &resize_kernels_avx2,
                                                       &resize_kernels_plain, NULL};
    __builtin_cpu_init();
    /* The features that x86-64-v4 and v3 add and our compiler flags therefore may use. */
    const int is_v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    const int is_v4 = is_v3 && __builtin_cpu_supports("avx512f") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return is_v4 ? all : is_v3 ? all + 1 : all + 2;
}
