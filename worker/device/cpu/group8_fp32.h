/* group8_fp32.h - what kernel_group8.c does with pixels that are fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_GROUP8_FP32_H
#define WORKER_DEVICE_CPU_GROUP8_FP32_H

/* Rounds in which all inputs of a group meet all its outputs, and outputs that meet at a time in
 * the weight gradient. */
enum { ROUNDS = 8, OUTPUTS = 1 };

/* A pixel as lines hold it. */
ALWAYS_INLINE vec line_pixel(const stored *from, int lanes)
{
    return lanes_read(from, lanes);
}

ALWAYS_INLINE vec twist(vec v, int r)
{
    return twist_lanes(v, r);
}

ALWAYS_INLINE vec multiply_add(vec sum, vec v, vec w)
{
    return sum + v * w;
}

#endif
