/* cpu_isa_plain.c - processors other than x86-64 have one set of kernels, as the compiler makes it.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/cpu.h"

#include <stddef.h>

extern const struct device_ops cpu_ops_plain;

const struct cpu_isa *cpu_isa_list(void)
{
    static const struct cpu_isa all[] = {{.name = "plain", .ops = &cpu_ops_plain}, {0}};
    return all;
}

const struct cpu_isa *cpu_isa_bf16(void)
{
    return NULL;
}
