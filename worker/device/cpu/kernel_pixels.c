/* kernel_pixels.c - images and floats to activations, and back. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include "worker/device/cpu/vec.h"

/* The three channels repeat every 48 values: three whole vectors. */
enum { PERIOD = 3 * LANES };

ALWAYS_INLINE int lanes_left(size_t count)
{
    return count < LANES ? (int)count : LANES;
}

void KERNEL(to_float)(struct device *device, const void *x, size_t count, float *y)
{
    (void)device;
    for (size_t i = 0; i < count; i += LANES) {
        const int lanes = lanes_left(count - i);
        vec_store_part(y + i, value_load_part((const stored *)x + i, lanes), lanes);
    }
}

void KERNEL(from_float)(struct device *device, const float *x, size_t count, void *y)
{
    (void)device;
    for (size_t i = 0; i < count; i += LANES) {
        const int lanes = lanes_left(count - i);
        value_store_part((stored *)y + i, vec_load_part(x + i, lanes), lanes);
    }
}

void KERNEL(images_normalize)(struct device *device, const uint8_t *images, size_t pixels,
                              const float mean[3], const float std[3], void *y)
{
    (void)device;
    float scale[PERIOD], bias[PERIOD], some[PERIOD] = {0};
    stored *to = y;
    for (int i = 0; i < PERIOD; i++) {
        scale[i] = (float)(1 / (255 * (double)std[i % 3]));
        bias[i] = (float)(-(double)mean[i % 3] / (double)std[i % 3]);
    }
    const size_t count = 3 * pixels;
    size_t at = 0;
    for (; at + PERIOD <= count; at += PERIOD) {
        for (size_t i = 0; i < PERIOD; i++)
            some[i] = (float)images[at + i] * scale[i] + bias[i];
        for (size_t i = 0; i < PERIOD; i += LANES)
            value_store(to + at + i, vec_load(some + i));
    }
    for (size_t i = 0; at + i < count; i++)
        some[i] = (float)images[at + i] * scale[i] + bias[i];
    for (size_t i = 0; at + i < count; i += LANES)
        value_store_part(to + at + i, vec_load(some + i), lanes_left(count - at - i));
}
