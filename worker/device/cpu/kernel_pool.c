/* kernel_pool.c - the maximum behind a ResNet's stem, and where its gradient goes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/kernels.h"

#include "worker/device/cpu/vec.h"

enum { WINDOW = 3, STRIDE = 2, TAPS = WINDOW * WINDOW };

/* The pixels of one window, row by row. */
struct window {
    int count;
    size_t at[TAPS]; /* of the first channel, in values of x */
};

static int out_side(int side)
{
    return (side + STRIDE - 1) / STRIDE;
}

static struct window window_of(const struct max_pool *args, int row, int i, int j)
{
    struct window window = {0};
    for (int tap = 0; tap < TAPS; tap++) {
        const int y = STRIDE * i - 1 + tap / WINDOW, x = STRIDE * j - 1 + tap % WINDOW;
        if (y < 0 || y >= args->height || x < 0 || x >= args->width)
            continue;
        const size_t pixel =
            ((size_t)row * (size_t)args->height + (size_t)y) * (size_t)args->width + (size_t)x;
        window.at[window.count++] = pixel * (size_t)args->channels;
    }
    return window;
}

struct pool_job {
    const struct window *window;
    const stored *x;
    stored *y;              /* of the window; forward */
    const stored *dy, *dy2; /* of the window; backward */
    stored *dx;
};

/* The largest pixel so far, and which of the window it is; NaN counts as larger. */
struct largest {
    vec value;
    vec_bits tap;
};

ALWAYS_INLINE struct largest larger_of(struct largest best, vec v, uint32_t tap)
{
    const vec_bits is_larger = (vec_bits)(v > best.value) | (vec_bits)(v != v);
    best.value = (vec)(((vec_bits)v & is_larger) | ((vec_bits)best.value & ~is_larger));
    best.tap = (tap & is_larger) | (best.tap & ~is_larger);
    return best;
}

ALWAYS_INLINE struct largest largest_of(const struct pool_job *job, int c, int i, int width,
                                        int lanes)
{
    const struct window *window = job->window;
    struct largest best = {strip_read(job->x + window->at[0] + c, i, width, lanes), (vec_bits){0}};
    for (int tap = 1; tap < window->count; tap++)
        best = larger_of(best, strip_read(job->x + window->at[tap] + c, i, width, lanes),
                         (uint32_t)tap);
    return best;
}

ALWAYS_INLINE void pool_strip(const struct pool_job *job, int c, int width, int lanes)
{
    for (int i = 0; i < width; i++)
        strip_write(job->y + c, largest_of(job, c, i, width, lanes).value, i, width, lanes);
}

void KERNEL(max_pool)(struct device *device, const struct max_pool *args)
{
    (void)device;
    const int height = out_side(args->height), width = out_side(args->width);
    stored *y = args->y;
    for (int pixel = 0; pixel < args->rows * height * width; pixel++, y += args->channels) {
        const struct window window =
            window_of(args, pixel / (height * width), pixel / width % height, pixel % width);
        const struct pool_job job = {.window = &window, .x = args->x, .y = y};
        STRIPS(pool_strip, &job, 0, args->channels)
    }
}

ALWAYS_INLINE void pool_backward_strip(const struct pool_job *job, int c, int width, int lanes)
{
    for (int i = 0; i < width; i++) {
        const struct largest best = largest_of(job, c, i, width, lanes);
        vec d = strip_read(job->dy + c, i, width, lanes);
        if (job->dy2 != NULL)
            d += strip_read(job->dy2 + c, i, width, lanes);
        for (int tap = 0; tap < job->window->count; tap++) {
            stored *dx = job->dx + job->window->at[tap] + c;
            const vec mine = vec_keep(d, (vec_bits)(best.tap == (uint32_t)tap));
            strip_write(dx, strip_read(dx, i, width, lanes) + mine, i, width, lanes);
        }
    }
}

void KERNEL(max_pool_backward)(struct device *device, const struct max_pool *args, const void *dy,
                               const void *dy2, void *dx)
{
    (void)device;
    const int height = out_side(args->height), width = out_side(args->width);
    memset(dx, 0,
           sizeof(stored) * (size_t)args->rows * (size_t)args->height * (size_t)args->width *
               (size_t)args->channels);
    for (int pixel = 0; pixel < args->rows * height * width; pixel++) {
        const struct window window =
            window_of(args, pixel / (height * width), pixel / width % height, pixel % width);
        const size_t at = (size_t)pixel * (size_t)args->channels;
        const struct pool_job job = {
            .window = &window,
            .x = args->x,
            .dy = (const stored *)dy + at,
            .dy2 = dy2 == NULL ? NULL : (const stored *)dy2 + at,
            .dx = dx,
        };
        STRIPS(pool_backward_strip, &job, 0, args->channels)
    }
}
