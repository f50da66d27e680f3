/* arrays.c - tensors of the emulated GPU as plain floats. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cuda/emulated/arrays.h"

#include "common/mem.h"
#include "worker/device/cuda/emulated/values.h"

float *arrays_load(enum cuda_values values, const void *from, size_t count)
{
    const uint16_t *narrow = from;
    float *x = mem_alloc(count * sizeof(*x));
    if (values == CUDA_FP32)
        memcpy(x, from, count * sizeof(*x));
    else if (values == CUDA_BF16)
        for (size_t i = 0; i < count; i++)
            x[i] = values_from_bf16(narrow[i]);
    else
        for (size_t i = 0; i < count; i++)
            x[i] = values_from_fp16(narrow[i]);
    return x;
}

void arrays_store(enum cuda_values values, float *x, size_t count, void *to)
{
    uint16_t *narrow = to;
    if (values == CUDA_FP32)
        memcpy(to, x, count * sizeof(*x));
    else if (values == CUDA_BF16)
        for (size_t i = 0; i < count; i++)
            narrow[i] = values_to_bf16(x[i]);
    else
        for (size_t i = 0; i < count; i++)
            narrow[i] = values_to_fp16(x[i]);
    mem_free(x);
}
