/* cpu_isa_x86.c - which of our kernels this x86-64 processor can run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include <stddef.h>

#include "common/x86_level.h"

extern const struct device_ops cpu_ops_plain, cpu_ops_avx2, cpu_ops_avx512, cpu_ops_avx512_bf16;
extern const struct group8_ops group8_ops_avx512, group8_ops_avx512_bf16;

const struct cpu_isa *cpu_isa_list(void)
{
    static const struct cpu_isa all[] = {
        {"avx512", &cpu_ops_avx512, &group8_ops_avx512},
        {"avx2", &cpu_ops_avx2, NULL},
        {"plain", &cpu_ops_plain, NULL},
        {0},
    };
    const int level = x86_level();
    return level == 4 ? all : level == 3 ? all + 1 : all + 2;
}

const struct cpu_isa *cpu_isa_bf16(void)
{
    static const struct cpu_isa bf16 = {"avx512_bf16", &cpu_ops_avx512_bf16,
                                        &group8_ops_avx512_bf16};
    return x86_has_bf16() ? &bf16 : NULL;
}
