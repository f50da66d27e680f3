/* values.h - bf16 and fp16 on the host, rounded as a GPU rounds them. C and C++. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CUDA_EMULATED_VALUES_H
#define WORKER_DEVICE_CUDA_EMULATED_VALUES_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t values_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static inline float values_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static inline float values_from_bf16(uint16_t bits)
{
    return values_float((uint32_t)bits << 16);
}

/* To nearest, ties to even; every NaN becomes the one that the GPU writes. */
static inline uint16_t values_to_bf16(float x)
{
    const uint32_t bits = values_bits(x);
    if (isnan(x))
        return 0x7fff;
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float values_from_fp16(uint16_t bits)
{
    const uint32_t sign = (uint32_t)(bits & 0x8000) << 16, exponent = bits >> 10 & 31;
    const uint32_t fraction = bits & 0x3ff;
    if (exponent == 31)
        return values_float(sign | 0x7f800000 | fraction << 13);
    if (exponent == 0) /* zero and subnormals: fraction * 2^-24 */
        return values_float(sign | values_bits((float)fraction * 0x1p-24f));
    return values_float(sign | (exponent + 112) << 23 | fraction << 13);
}

static inline uint16_t values_to_fp16(float x)
{
    const uint16_t sign = (uint16_t)(values_bits(x) >> 16 & 0x8000);
    const float size = fabsf(x);
    if (isnan(x))
        return 0x7fff;
    if (size >= 65520) /* halfway between the largest and what would come next */
        return (uint16_t)(sign | 0x7c00);
    if (size < 0x1p-14f) /* a multiple of 2^-24: adding 0.5 makes the machine round to it */
        return (uint16_t)(sign | (values_bits(size + 0.5f) - values_bits(0.5f)));
    const uint32_t bits = values_bits(size) - (112u << 23);
    return (uint16_t)(sign | (bits + 0xfff + (bits >> 13 & 1)) >> 13);
}

#endif
