/* kernel_group8.c - 3x3 convolutions in groups of eight channels; group8.h explains the method. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/group8.h"

#include "worker/device/cpu/kernels.h"
#include "worker/device/cpu/vec.h"

/* TILE outputs at a time are enough to hide the latency of additions; RegNet's widths at 224 pixels
 * are multiples of 7, at 96 of 6 or 3. SLACK: vectors a line may be read past its end. */
enum { TILE = 7, TAP_SUMS = 8 * LANES, ROW_SUMS = 3 * TAP_SUMS };
/* 1024 random products summed in fp32 are off by 2e-6 of the sum. */
enum { FP32_PIXELS = 1024 };

extern const struct own_conv_ops KERNEL(group8_ops);

#define TWIST(v, r)                                                                                \
    __builtin_shufflevector((v), (v), 0 ^ (r), 1 ^ (r), 2 ^ (r), 3 ^ (r), 4 ^ (r), 5 ^ (r),        \
                            6 ^ (r), 7 ^ (r), 8 ^ (r), 9 ^ (r), 10 ^ (r), 11 ^ (r), 12 ^ (r),      \
                            13 ^ (r), 14 ^ (r), 15 ^ (r))

/* r is a constant wherever this is inlined. */
ALWAYS_INLINE vec twist_lanes(vec v, int r)
{
    if (r & 4)
        v = TWIST(v, 4);
    switch (r & 3) {
    case 1:
        return TWIST(v, 1);
    case 2:
        return TWIST(v, 2);
    case 3:
        return TWIST(v, 3);
    default:
        return v;
    }
}

#include CPU_GROUP8_H

enum { TAP_WEIGHTS = ROUNDS * LANES, ROW_WEIGHTS = 3 * TAP_WEIGHTS };

/* What the loops over lines of one image and one chunk of sixteen channels need. */
struct chunk {
    const struct own_conv *conv;
    int c, lanes;          /* first channel, how many of sixteen exist */
    const float *weights;  /* [3][3][ROUNDS][16] */
    float *lines;          /* lines of line_values each */
    ptrdiff_t line_values; /* pixel i of a line is at (i + 1) * LANES; zeros around */
    int loaded;            /* lines of the source copied so far: line y is in lines[y % 3] */
};

static struct chunk chunk_make(const struct own_conv *conv, const void *weights, float *lines,
                               int c)
{
    const int left = conv->channels - c;
    return (struct chunk){
        .conv = conv,
        .c = c,
        .lanes = left < LANES ? left : LANES,
        .weights = (const float *)weights + (ptrdiff_t)(c / LANES) * 3 * ROW_WEIGHTS,
        .lines = lines,
        .line_values = (ptrdiff_t)group8_line_pixels(conv) * LANES,
    };
}

/* Zeros where lines of so many pixels will have none. */
static void lines_clear(const struct own_conv *conv, int count, int width, float *lines)
{
    const ptrdiff_t all = (ptrdiff_t)group8_line_pixels(conv) * LANES;
    const ptrdiff_t end = (ptrdiff_t)(width + 1) * LANES;
    for (int i = 0; i < count; i++, lines += all) {
        memset(lines, 0, LANES * sizeof(float));
        memset(lines + end, 0, (size_t)(all - end) * sizeof(float));
    }
}

static float *chunk_line(const struct chunk *chunk, int y)
{
    return chunk->lines + (ptrdiff_t)(y % 3) * chunk->line_values;
}

/* Copies line y of an image of `width` pixels into `line`; the weight gradient wants fp32. */
ALWAYS_INLINE void line_copy(const struct chunk *chunk, const stored *image, int y, int width,
                             int is_forward, float *line)
{
    const ptrdiff_t channels = chunk->conv->channels;
    const stored *from = image + (ptrdiff_t)y * width * channels + chunk->c;
    for (int x = 0; x < width; x++) {
        line += LANES;
        if (is_forward)
            vec_store(line, line_pixel(from, chunk->lanes));
        else
            vec_store(line, value_load_part(from, chunk->lanes));
        from += channels;
    }
}

/* Makes lines up to y of the image present; lines come in order, three stay. */
static void chunk_need(struct chunk *chunk, const stored *image, int y, int height, int width)
{
    for (; chunk->loaded <= y && chunk->loaded < height; chunk->loaded++)
        line_copy(chunk, image, chunk->loaded, width, 1, chunk_line(chunk, chunk->loaded));
}

/* Asks for `count` pixels from x on of line y, which is copied soon: their cache lines lie a
 * pixel's channels apart, too far for the processor's own prefetching. */
ALWAYS_INLINE void chunk_prefetch(const struct chunk *chunk, const stored *image, int y, int height,
                                  int width, int x, int count)
{
    const ptrdiff_t channels = chunk->conv->channels;
    const stored *at = image + ((ptrdiff_t)y * width + x) * channels + chunk->c;
    for (int i = 0; i < count && x + i < width && y < height; i++, at += channels)
        __builtin_prefetch(at);
}

/* acc[o] += the three taps of one line, round r; `count` outputs from x on. */
ALWAYS_INLINE void forward_round(const float *x, const float *weights, int stride, int count, int r,
                                 vec *acc)
{
    const vec w0 = vec_load(weights + (ptrdiff_t)r * LANES);
    const vec w1 = vec_load(weights + TAP_WEIGHTS + (ptrdiff_t)r * LANES);
    const vec w2 = vec_load(weights + (ptrdiff_t)2 * TAP_WEIGHTS + (ptrdiff_t)r * LANES);
#pragma GCC unroll 16
    for (int j = 0; j < (count - 1) * stride + 3; j++) {
        const vec v = twist(vec_load(x + (ptrdiff_t)j * LANES), r);
        if (j % stride == 0 && j / stride < count)
            acc[j / stride] = multiply_add(acc[j / stride], v, w0);
        if (j >= 1 && (j - 1) % stride == 0 && (j - 1) / stride < count)
            acc[(j - 1) / stride] = multiply_add(acc[(j - 1) / stride], v, w1);
        if (j >= 2 && (j - 2) % stride == 0 && (j - 2) / stride < count)
            acc[(j - 2) / stride] = multiply_add(acc[(j - 2) / stride], v, w2);
    }
}

/* `count` outputs of one line; lines[ky] is NULL above and below the image. */
ALWAYS_INLINE void forward_tile(const float *const lines[3], const float *weights, int stride,
                                int count, ptrdiff_t at, vec *acc)
{
#pragma GCC unroll 8
    for (int o = 0; o < count; o++)
        acc[o] = vec_all(0);
    for (int ky = 0; ky < 3; ky++) {
        if (lines[ky] == NULL)
            continue;
        const float *x = lines[ky] + at, *w = weights + (ptrdiff_t)ky * ROW_WEIGHTS;
        forward_round(x, w, stride, count, 0, acc);
        forward_round(x, w, stride, count, 1, acc);
        forward_round(x, w, stride, count, 2, acc);
        forward_round(x, w, stride, count, 3, acc);
        if (ROUNDS == 4)
            continue;
        forward_round(x, w, stride, count, 4, acc);
        forward_round(x, w, stride, count, 5, acc);
        forward_round(x, w, stride, count, 6, acc);
        forward_round(x, w, stride, count, 7, acc);
    }
}

/* One line of outputs in tiles of `count`; the last may compute more than it stores. */
ALWAYS_INLINE void forward_line(const struct chunk *chunk, const float *const lines[3], int stride,
                                int count, const stored *image, stored *y)
{
    const struct own_conv *g = chunk->conv;
    const ptrdiff_t channels = g->channels;
    const int width = g->out_width;
    for (int first = 0; first < width; first += count) {
        vec acc[TILE];
        for (int next = 0; next < stride; next++)
            chunk_prefetch(chunk, image, chunk->loaded + next, g->height, g->width, first * stride,
                           count * stride);
        forward_tile(lines, chunk->weights, stride, count, (ptrdiff_t)first * stride * LANES, acc);
#pragma GCC unroll 8
        for (int o = 0; o < count; o++, y += channels)
            if (first + o < width) {
                __builtin_prefetch(y + width * channels, 1);
                lanes_write(y, acc[o], chunk->lanes);
            }
    }
}

/* Line oy of a convolution from height x width to out_height x out_width: forward, and the data
 * gradient at stride 1. */
static void forward_row(struct chunk *chunk, int oy, const stored *x, stored *y)
{
    const struct own_conv *g = chunk->conv;
    const int stride = g->stride, width = g->out_width;
    const float *lines[3];
    y += (ptrdiff_t)oy * width * g->channels + chunk->c;
    chunk_need(chunk, x, oy * stride + 1, g->height, g->width);
    for (int ky = 0; ky < 3; ky++) {
        const int iy = oy * stride + ky - 1;
        lines[ky] = iy < 0 || iy >= g->height ? NULL : chunk_line(chunk, iy);
    }
    if (stride == 1 && width % 7 == 0)
        forward_line(chunk, lines, 1, 7, x, y);
    else if (stride == 1 && width % 6 == 0)
        forward_line(chunk, lines, 1, 6, x, y);
    else if (stride == 1)
        forward_line(chunk, lines, 1, 3, x, y);
    else if (width % 7 == 0)
        forward_line(chunk, lines, 2, 7, x, y);
    else
        forward_line(chunk, lines, 2, 6, x, y);
}

/* The chunks from channel c on whose lines are worked on in turn; returns how many. */
static int chunks_make(const struct own_conv *conv, const void *weights, float *lines, int c,
                       struct chunk *chunks)
{
    const ptrdiff_t each = 3 * (ptrdiff_t)group8_line_pixels(conv) * LANES;
    int count = 0;
    for (; count < group8_chunks(conv) && c < conv->channels; count++, c += LANES)
        chunks[count] = chunk_make(conv, weights, lines + count * each, c);
    return count;
}

static void forward_all(const struct own_conv *conv, const void *weights, float *lines,
                        const stored *x, stored *y)
{
    const ptrdiff_t in = (ptrdiff_t)conv->height * conv->width * conv->channels;
    const ptrdiff_t out = (ptrdiff_t)conv->out_height * conv->out_width * conv->channels;
    struct chunk chunks[GROUP8_CHUNKS_MAX];
    lines_clear(conv, 3 * group8_chunks(conv), conv->width, lines);
    for (int row = 0; row < conv->rows; row++)
        for (int c = 0, count; c < conv->channels; c += count * LANES) {
            count = chunks_make(conv, weights, lines, c, chunks);
            for (int oy = 0; oy < conv->out_height; oy++)
                for (int i = 0; i < count; i++)
                    forward_row(&chunks[i], oy, x + row * in, y + row * out);
        }
}

static void group8_forward(const struct own_conv *conv, float *lines, const void *x, void *y)
{
    forward_all(conv, conv->forward, lines, x, y);
}

/* Stride 2: dx at 2m gets tap 1 of dy[m]; dx at 2m+1 gets tap 2 of dy[m] and tap 0 of dy[m+1]. */
ALWAYS_INLINE void data_round(const float *dy, const float *weights, int count, int r, vec *even,
                              vec *odd)
{
    const vec w0 = vec_load(weights + (ptrdiff_t)r * LANES);
    const vec w1 = vec_load(weights + TAP_WEIGHTS + (ptrdiff_t)r * LANES);
    const vec w2 = vec_load(weights + (ptrdiff_t)2 * TAP_WEIGHTS + (ptrdiff_t)r * LANES);
#pragma GCC unroll 16
    for (int j = 0; j <= count; j++) {
        const vec v = twist(vec_load(dy + (ptrdiff_t)(j + 1) * LANES), r);
        if (j < count) {
            even[j] = multiply_add(even[j], v, w1);
            odd[j] = multiply_add(odd[j], v, w2);
        }
        if (j > 0)
            odd[j - 1] = multiply_add(odd[j - 1], v, w0);
    }
}

ALWAYS_INLINE void data_tile(const float *const lines[3], const float *weights, int count,
                             ptrdiff_t at, vec *even, vec *odd)
{
#pragma GCC unroll 8
    for (int o = 0; o < count; o++)
        even[o] = odd[o] = vec_all(0);
    for (int ky = 0; ky < 3; ky++) {
        if (lines[ky] == NULL)
            continue;
        const float *dy = lines[ky] + at, *w = weights + (ptrdiff_t)ky * ROW_WEIGHTS;
        data_round(dy, w, count, 0, even, odd);
        data_round(dy, w, count, 1, even, odd);
        data_round(dy, w, count, 2, even, odd);
        data_round(dy, w, count, 3, even, odd);
        if (ROUNDS == 4)
            continue;
        data_round(dy, w, count, 4, even, odd);
        data_round(dy, w, count, 5, even, odd);
        data_round(dy, w, count, 6, even, odd);
        data_round(dy, w, count, 7, even, odd);
    }
}

ALWAYS_INLINE void data_line(const struct chunk *chunk, const float *const lines[3], int count,
                             const stored *image, stored *dx)
{
    const struct own_conv *g = chunk->conv;
    const ptrdiff_t channels = g->channels;
    for (int first = 0; first < g->out_width; first += count) {
        vec even[TILE], odd[TILE];
        chunk_prefetch(chunk, image, chunk->loaded, g->out_height, g->out_width, first, count);
        data_tile(lines, chunk->weights, count, (ptrdiff_t)first * LANES, even, odd);
#pragma GCC unroll 8
        for (int o = 0; o < count; o++, dx += 2 * channels) {
            const int ix = 2 * (first + o);
            __builtin_prefetch(dx + g->width * channels, 1);
            __builtin_prefetch(dx + (g->width + 1) * channels, 1);
            if (ix < g->width)
                value_store_part(dx, even[o], chunk->lanes);
            if (ix + 1 < g->width)
                value_store_part(dx + channels, odd[o], chunk->lanes);
        }
    }
}

/* Line iy of dx, at stride 2. */
static void data_row(struct chunk *chunk, int iy, const stored *dy, stored *dx)
{
    const struct own_conv *g = chunk->conv;
    const int oy = iy / 2, next = oy + 1;
    const float *lines[3] = {NULL, NULL, NULL};
    dx += (ptrdiff_t)iy * g->width * g->channels + chunk->c;
    chunk_need(chunk, dy, next, g->out_height, g->out_width);
    if (iy % 2 == 0) {
        lines[1] = chunk_line(chunk, oy);
    } else {
        lines[2] = chunk_line(chunk, oy);
        lines[0] = next < g->out_height ? chunk_line(chunk, next) : NULL;
    }
    if (g->out_width % 7 == 0)
        data_line(chunk, lines, 7, dy, dx);
    else if (g->out_width % 6 == 0)
        data_line(chunk, lines, 6, dy, dx);
    else
        data_line(chunk, lines, 3, dy, dx);
}

static void group8_backward_data(const struct own_conv *conv, float *lines, const void *dy,
                                 void *dx)
{
    if (conv->stride == 1) {
        forward_all(conv, conv->transposed, lines, dy, dx);
        return;
    }
    const ptrdiff_t in = (ptrdiff_t)conv->height * conv->width * conv->channels;
    const ptrdiff_t out = (ptrdiff_t)conv->out_height * conv->out_width * conv->channels;
    struct chunk chunks[GROUP8_CHUNKS_MAX];
    lines_clear(conv, 3 * group8_chunks(conv), conv->out_width, lines);
    for (int row = 0; row < conv->rows; row++)
        for (int c = 0, count; c < conv->channels; c += count * LANES) {
            count = chunks_make(conv, conv->transposed, lines, c, chunks);
            for (int iy = 0; iy < conv->height; iy++)
                for (int i = 0; i < count; i++)
                    data_row(&chunks[i], iy, (const stored *)dy + row * out,
                             (stored *)dx + row * in);
        }
}

/* acc[kx][r] += twist_lanes(x, r) * d, for the taps of one pixel of x. */
ALWAYS_INLINE void weights_pixel(vec x, const vec *d, int first_tap, int step, vec acc[3][8])
{
#pragma GCC unroll 8
    for (int r = 0; r < 8; r++) {
        const vec v = twist_lanes(x, r);
#pragma GCC unroll 3
        for (int kx = first_tap; kx < 3; kx += step)
            acc[kx][r] += v * d[kx];
    }
}

/* One line of x against one line of dy. */
ALWAYS_INLINE void weights_line(const struct own_conv *g, int stride, const float *x,
                                const float *dy, vec acc[3][8])
{
    if (stride == 1) {
        /* pixel j of x meets dy[j + 1 - kx] */
        for (ptrdiff_t j = 0; j < g->width; j++) {
            const vec d[3] = {vec_load(dy + (j + 2) * LANES), vec_load(dy + (j + 1) * LANES),
                              vec_load(dy + j * LANES)};
            weights_pixel(vec_load(x + (j + 1) * LANES), d, 0, 1, acc);
        }
        return;
    }
    /* pixel 2o - 1 of x meets dy[o] at tap 0 and dy[o - 1] at tap 2, pixel 2o dy[o] at tap 1 */
    for (ptrdiff_t o = 0; o <= g->out_width; o++) {
        const vec d[3] = {vec_load(dy + (o + 1) * LANES), vec_load(dy + (o + 1) * LANES),
                          vec_load(dy + o * LANES)};
        weights_pixel(vec_load(x + 2 * o * LANES), d, 0, 2, acc);
        weights_pixel(vec_load(x + (2 * o + 1) * LANES), d, 1, 2, acc);
    }
}

/* Row ky of the kernel over a band of lines: its 24 sums stay in registers. */
ALWAYS_INLINE void weights_band(const struct chunk *chunk, int stride, int ky, int first, int end,
                                float *sums)
{
    const struct own_conv *g = chunk->conv;
    const float *dy = chunk->lines + (ptrdiff_t)group8_band_inputs(g) * chunk->line_values;
    vec acc[3][8];
#pragma GCC unroll 24
    for (int i = 0; i < 24; i++)
        acc[i / 8][i % 8] = vec_load(sums + (ptrdiff_t)i * LANES);
    for (int oy = first; oy < end; oy++, dy += chunk->line_values) {
        const int iy = oy * stride + ky - 1;
        if (iy < 0 || iy >= g->height)
            continue;
        const float *x = chunk->lines + (ptrdiff_t)(iy - first * stride + 1) * chunk->line_values;
        weights_line(g, stride, x, dy, acc);
    }
#pragma GCC unroll 24
    for (int i = 0; i < 24; i++)
        vec_store(sums + (ptrdiff_t)i * LANES, acc[i / 8][i % 8]);
}

/* Adds one image to sums [3][3][8][16]. */
static void weights_image(const struct chunk *chunk, const stored *x, const stored *dy, float *sums)
{
    const struct own_conv *g = chunk->conv;
    const int band = group8_band(g), inputs = group8_band_inputs(g);
    for (int first = 0; first < g->out_height; first += band) {
        const int end = g->out_height - first < band ? g->out_height : first + band;
        float *line = chunk->lines;
        for (int iy = first * g->stride - 1; iy <= (end - 1) * g->stride + 1; iy++) {
            if (iy >= 0 && iy < g->height)
                line_copy(chunk, x, iy, g->width, 0, line);
            line += chunk->line_values;
        }
        line = chunk->lines + (ptrdiff_t)inputs * chunk->line_values;
        for (int oy = first; oy < end; oy++, line += chunk->line_values)
            line_copy(chunk, dy, oy, g->out_width, 0, line);
        for (int ky = 0; ky < 3; ky++)
            if (g->stride == 1)
                weights_band(chunk, 1, ky, first, end, sums + (ptrdiff_t)ky * ROW_SUMS);
            else
                weights_band(chunk, 2, ky, first, end, sums + (ptrdiff_t)ky * ROW_SUMS);
    }
}

static void sums_join(struct group8_sums *sums)
{
    for (int i = 0; i < GROUP8_SUMS; i++) {
        sums->total[i] += (double)sums->part[i];
        sums->part[i] = 0;
    }
    sums->pixels = 0;
}

/* To dw, of channels from c on. */
static void sums_write(const struct group8_sums *sums, int c, int lanes,
                       const struct own_gradient *gradient)
{
    for (int i = 0; i < GROUP8_SUMS; i++) {
        const int lane = i % LANES, r = i / LANES % 8, tap = i / TAP_SUMS;
        float *to = gradient->dw + (ptrdiff_t)((c + lane) * 8 + (lane % 8 ^ r)) * 9 + tap;
        if (lane < lanes)
            *to = (float)(sums->total[i] + (gradient->accumulate ? (double)*to : 0));
    }
}

/* Sums over up to FP32_PIXELS (of whole images) are fp32, beyond fp64. */
static void group8_backward_weights(const struct own_conv *conv, float *lines, const void *x,
                                    const void *dy, const struct own_gradient *gradient)
{
    const ptrdiff_t in = (ptrdiff_t)conv->height * conv->width * conv->channels;
    const ptrdiff_t out = (ptrdiff_t)conv->out_height * conv->out_width * conv->channels;
    const int inputs = group8_band_inputs(conv), outputs = group8_band(conv);
    const ptrdiff_t line = (ptrdiff_t)group8_line_pixels(conv) * LANES;
    struct group8_sums *sums = conv->sums;
    lines_clear(conv, inputs, conv->width, lines);
    lines_clear(conv, outputs, conv->out_width, lines + inputs * line);
    for (int c = 0; c < conv->channels; c += LANES, sums++) {
        const struct chunk chunk = chunk_make(conv, conv->forward, lines, c);
        if (gradient->is_first)
            *sums = (struct group8_sums){0};
        for (int row = 0; row < conv->rows; row++) {
            weights_image(&chunk, (const stored *)x + row * in, (const stored *)dy + row * out,
                          sums->part);
            sums->pixels += conv->out_height * conv->out_width;
            if (sums->pixels >= FP32_PIXELS)
                sums_join(sums);
        }
        if (gradient->is_last) {
            sums_join(sums);
            sums_write(sums, c, chunk.lanes, gradient);
        }
    }
}

const struct own_conv_ops KERNEL(group8_ops) = {
    .weights = group8_weights,
    .forward = group8_forward,
    .backward_data = group8_backward_data,
    .backward_weights = group8_backward_weights,
};
