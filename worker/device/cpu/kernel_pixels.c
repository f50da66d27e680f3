/* kernel_pixels.c - images in, and the scale of squeeze-and-excitation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include "worker/device/cpu/sums.h"

/* The three channels repeat every 48 values: three whole vectors. */
enum { PERIOD = 3 * LANES };

void KERNEL(images_normalize)(struct device *device, const uint8_t *images, size_t pixels,
                              const float mean[3], const float std[3], void *y)
{
    (void)device;
    float scale[PERIOD], bias[PERIOD], *to = y;
    for (int i = 0; i < PERIOD; i++) {
        scale[i] = (float)(1 / (255 * (double)std[i % 3]));
        bias[i] = (float)(-(double)mean[i % 3] / (double)std[i % 3]);
    }
    const size_t count = 3 * pixels;
    size_t at = 0;
    for (; at + PERIOD <= count; at += PERIOD)
        for (size_t i = 0; i < PERIOD; i++)
            to[at + i] = (float)images[at + i] * scale[i] + bias[i];
    for (size_t i = 0; at + i < count; i++)
        to[at + i] = (float)images[at + i] * scale[i] + bias[i];
}

/* `pixels` pixels of one row. */
struct scale_job {
    const float *x, *s;
    float *y;
    int pixels, channels;
};

ALWAYS_INLINE void scale_strip(const struct scale_job *job, int c, int width, int lanes)
{
    const int channels = job->channels;
    const float *x = job->x + c;
    float *y = job->y + c;
    vec s[4];
    for (int i = 0; i < width; i++)
        s[i] = strip_load(job->s + c, i, width, lanes);
    for (ptrdiff_t p = 0; p < (ptrdiff_t)job->pixels * channels; p += channels)
        for (int i = 0; i < width; i++)
            strip_store(y + p, strip_load(x + p, i, width, lanes) * s[i], i, width, lanes);
}

void KERNEL(row_scale)(struct device *device, const void *x, const float *s, int rows,
                       int pixels_per_row, int channels, void *y)
{
    (void)device;
    for (int row = 0; row < rows; row++)
        for (int first = 0; first < pixels_per_row; first += BLOCK) {
            const size_t pixel = (size_t)row * (size_t)pixels_per_row + (size_t)first;
            const int left = pixels_per_row - first;
            const struct scale_job job = {
                .x = (const float *)x + pixel * (size_t)channels,
                .s = s + (size_t)row * (size_t)channels,
                .y = (float *)y + pixel * (size_t)channels,
                .pixels = left < BLOCK ? left : BLOCK,
                .channels = channels,
            };
            STRIPS(scale_strip, &job, 0, channels)
        }
}

/* `pixels` pixels of one row join ds. */
struct scale_backward_job {
    const float *dy, *x;
    float *ds;
    int pixels, channels;
};

ALWAYS_INLINE void scale_backward_strip(const struct scale_backward_job *job, int c, int width,
                                        int lanes)
{
    const int channels = job->channels;
    const float *dy = job->dy + c, *x = job->x + c;
    vec sum[4];
    for (int i = 0; i < width; i++)
        sum[i] = vec_all(0);
    for (ptrdiff_t p = 0; p < (ptrdiff_t)job->pixels * channels; p += channels)
        for (int i = 0; i < width; i++)
            sum[i] += strip_load(dy + p, i, width, lanes) * strip_load(x + p, i, width, lanes);
    for (int i = 0; i < width; i++)
        strip_store(job->ds + c, strip_load(job->ds + c, i, width, lanes) + sum[i], i, width,
                    lanes);
}

void KERNEL(row_scale_backward)(struct device *device, const void *dy, const void *x, int rows,
                                int pixels_per_row, int channels, float *ds)
{
    (void)device;
    memset(ds, 0, (size_t)rows * (size_t)channels * sizeof(*ds));
    for (int row = 0; row < rows; row++)
        for (int first = 0; first < pixels_per_row; first += BLOCK) {
            const size_t pixel = (size_t)row * (size_t)pixels_per_row + (size_t)first;
            const int left = pixels_per_row - first;
            const struct scale_backward_job job = {
                .dy = (const float *)dy + pixel * (size_t)channels,
                .x = (const float *)x + pixel * (size_t)channels,
                .ds = ds + (size_t)row * (size_t)channels,
                .pixels = left < BLOCK ? left : BLOCK,
                .channels = channels,
            };
            STRIPS(scale_backward_strip, &job, 0, channels)
        }
}
