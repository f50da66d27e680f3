/* values_fp32.h - activations that are kept as fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_VALUES_FP32_H
#define WORKER_DEVICE_CPU_VALUES_FP32_H

#define stored float

ALWAYS_INLINE vec value_load(const stored *from)
{
    return vec_load(from);
}

ALWAYS_INLINE void value_store(stored *to, vec v)
{
    vec_store(to, v);
}

ALWAYS_INLINE vec value_load_part(const stored *from, int lanes)
{
    return vec_load_part(from, lanes);
}

ALWAYS_INLINE void value_store_part(stored *to, vec v, int lanes)
{
    vec_store_part(to, v, lanes);
}

#endif
