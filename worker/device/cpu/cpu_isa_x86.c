/* cpu_isa_x86.c - which of our kernels this x86-64 processor can run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include <stddef.h>

#include "common/x86_level.h"

extern const struct device_ops cpu_ops_plain, cpu_ops_avx2, cpu_ops_avx512, cpu_ops_avx512_bf16;
extern const struct row_kernels row_kernels_plain, row_kernels_avx2, row_kernels_avx512,
    row_kernels_avx512_bf16;
extern const struct own_conv_ops group8_ops_avx512, winograd_ops_avx512, pointwise_ops_avx512;
extern const struct own_conv_ops group8_ops_avx512_bf16, direct_ops_avx512_bf16;

const struct cpu_isa *cpu_isa_list(void)
{
    static const struct cpu_isa all[] = {
        {.name = "avx512",
         .ops = &cpu_ops_avx512,
         .rows = &row_kernels_avx512,
         .group8 = &group8_ops_avx512,
         .winograd = &winograd_ops_avx512,
         .pointwise = &pointwise_ops_avx512},
        {.name = "avx2", .ops = &cpu_ops_avx2, .rows = &row_kernels_avx2},
        {.name = "plain", .ops = &cpu_ops_plain, .rows = &row_kernels_plain},
        {0},
    };
    const int level = x86_level();
    return level == 4 ? all : level == 3 ? all + 1 : all + 2;
}

/* Where there is AMX, oneDNN uses it. */
const struct cpu_isa *cpu_isa_bf16(void)
{
    static const struct cpu_isa vectors = {.name = "avx512_bf16",
                                           .ops = &cpu_ops_avx512_bf16,
                                           .rows = &row_kernels_avx512_bf16,
                                           .group8 = &group8_ops_avx512_bf16,
                                           .direct = &direct_ops_avx512_bf16};
    static const struct cpu_isa tiles = {.name = "avx512_bf16",
                                         .ops = &cpu_ops_avx512_bf16,
                                         .rows = &row_kernels_avx512_bf16,
                                         .group8 = &group8_ops_avx512_bf16};
    if (!x86_has_bf16())
        return NULL;
    return x86_has_amx_bf16() ? &tiles : &vectors;
}
