/* lanes_copy.h - loads and stores of part of a vector, lane by lane: rare where vectors are short,
 * since RegNet's widths are multiples of 8. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_LANES_COPY_H
#define WORKER_DEVICE_CPU_LANES_COPY_H

/* The first `lanes` (1..LANES) values; the other lanes are 0 and their memory is not touched. */
ALWAYS_INLINE vec vec_load_part(const float *from, int lanes)
{
    vec v = {0};
    if (lanes == LANES)
        return vec_load(from);
    for (int i = 0; i < lanes; i++)
        v[i] = from[i];
    return v;
}

ALWAYS_INLINE void vec_store_part(float *to, vec v, int lanes)
{
    if (lanes == LANES)
        vec_store(to, v);
    else
        for (int i = 0; i < lanes; i++)
            to[i] = v[i];
}

#endif
