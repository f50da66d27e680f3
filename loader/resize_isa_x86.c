/* resize_isa_x86.c - which of the kernels this x86-64 processor can run. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/x86_level.h"
#include "loader/resize_kernels.h"

extern const struct resize_kernels resize_kernels_plain, resize_kernels_avx2, resize_kernels_avx512;

const struct resize_kernels *const *resize_kernels_list(void)
{
    static const struct resize_kernels *const all[] = {&resize_kernels_avx512, &resize_kernels_avx2,
                                                       &resize_kernels_plain, NULL};
    const int level = x86_level();
    return level == 4 ? all : level == 3 ? all + 1 : all + 2;
}
