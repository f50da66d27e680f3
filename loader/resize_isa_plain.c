/* resize_isa_plain.c - where there is one set of instructions. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/resize_kernels.h"

extern const struct resize_kernels resize_kernels_plain;

const struct resize_kernels *const *resize_kernels_list(void)
{
    static const struct resize_kernels *const all[] = {&resize_kernels_plain, NULL};
    return all;
}
