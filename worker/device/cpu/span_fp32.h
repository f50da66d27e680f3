/* span_fp32.h - products of fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_SPAN_FP32_H
#define WORKER_DEVICE_CPU_SPAN_FP32_H

/* sum += row * *factor. What no span of this width has stays 0 and costs nothing. */
ALWAYS_INLINE void span_add(struct span *sum, const struct span *row, const float *factor)
{
    sum->a += row->a * *factor;
    sum->b += row->b * *factor;
    sum->c += row->c * *factor;
    sum->d += row->d * *factor;
    sum->half += row->half * *factor;
}

#endif
