/* kernel_direct.c - direct 3x3 convolutions in groups with bf16; direct.h explains the method. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/direct.h"

#include "worker/device/cpu/kernels.h"
#include "worker/device/cpu/span.h"

extern const struct own_conv_ops KERNEL(direct_ops);

enum { OUTSIDE = -1 };

/* The pixels of one kind in a tensor that is written (or, with the weight gradient, of dy), and the
 * taps that they meet in the one that is read. */
struct kind {
    int y, x;         /* of its first pixel; the next ones are `step` away */
    int down, across; /* pixels of an image */
    int count;        /* pixels of all images */
    int tap_count;
    int taps[DIRECT_TAPS]; /* 3 ky + kx */
};

/* What runs through a call. */
struct work {
    const struct own_conv *conv;
    int is_backward;           /* dy is read and dx written; else x and y */
    ptrdiff_t pixel;           /* channels of all groups */
    int first, present;        /* pixels of the kind that are listed */
    float *sums;               /* [groups][9][group][group] */
    float *x_pairs, *dy_pairs; /* [DIRECT_BLOCK/2][group], each a pair of pixels */
    stored *zeros, *unread;    /* a pixel outside of the image, to read and to write */
    int *written;              /* [DIRECT_BLOCK]: counted from the tensor's first, or OUTSIDE */
    int *read;                 /* [DIRECT_BLOCK][tap_count] */
};

static struct work work_make(const struct own_conv *conv, float *scratch, int is_backward)
{
    struct work work = {.conv = conv, .is_backward = is_backward, .pixel = conv->channels};
    const ptrdiff_t pairs = (ptrdiff_t)DIRECT_BLOCK / 2 * conv->group;
    work.sums = scratch;
    work.x_pairs = work.sums + DIRECT_TAPS * work.pixel * conv->group;
    work.dy_pairs = work.x_pairs + pairs;
    float *rest = work.dy_pairs + pairs;
    work.zeros = (stored *)rest;
    work.unread = (stored *)(rest + conv->group);
    work.written = (int *)(rest + (ptrdiff_t)2 * conv->group);
    work.read = work.written + DIRECT_BLOCK;
    memset(work.zeros, 0, (size_t)conv->group * sizeof(*work.zeros));
    return work;
}

/* All pixels of y meet all taps. */
static struct kind kind_of_y(const struct own_conv *conv)
{
    struct kind kind = {
        .down = conv->out_height, .across = conv->out_width, .tap_count = DIRECT_TAPS};
    kind.count = conv->rows * kind.down * kind.across;
    for (int tap = 0; tap < DIRECT_TAPS; tap++)
        kind.taps[tap] = tap;
    return kind;
}

/* Pixel iy of dx meets tap ky at (iy + 1 - ky) / stride of dy, if that is whole. */
static struct kind kind_of_dx(const struct own_conv *conv, int y, int x)
{
    const int stride = conv->stride;
    struct kind kind = {
        .y = y,
        .x = x,
        .down = (conv->height - y + stride - 1) / stride,
        .across = (conv->width - x + stride - 1) / stride,
    };
    kind.count = conv->rows * kind.down * kind.across;
    for (int tap = 0; tap < DIRECT_TAPS; tap++)
        if ((y + 1 - tap / 3) % stride == 0 && (x + 1 - tap % 3) % stride == 0)
            kind.taps[kind.tap_count++] = tap;
    return kind;
}

/* Where pixel (y, x) of image `row` meets a tap; from the first of the tensor that is read. */
static int place(const struct work *work, int row, int y, int x, int tap)
{
    const struct own_conv *conv = work->conv;
    const int ky = tap / 3 - 1, kx = tap % 3 - 1, stride = conv->stride;
    const int height = work->is_backward ? conv->out_height : conv->height;
    const int width = work->is_backward ? conv->out_width : conv->width;
    /* Times the stride: a division would make 0 of -1. */
    const int scaled_y = work->is_backward ? y - ky : (y * stride + ky) * stride;
    const int scaled_x = work->is_backward ? x - kx : (x * stride + kx) * stride;
    const int is_inside =
        scaled_y >= 0 && scaled_y < height * stride && scaled_x >= 0 && scaled_x < width * stride;
    return is_inside ? (row * height + scaled_y / stride) * width + scaled_x / stride : OUTSIDE;
}

/* Lists the pixels of a kind from `first` on; what is left of the block is OUTSIDE. */
static void list_block(struct work *work, const struct kind *kind)
{
    const struct own_conv *conv = work->conv;
    const int step = work->is_backward ? conv->stride : 1, left = kind->count - work->first;
    const int height = work->is_backward ? conv->height : conv->out_height;
    const int width = work->is_backward ? conv->width : conv->out_width;
    int *read = work->read;
    work->present = left < DIRECT_BLOCK ? left : DIRECT_BLOCK;
    for (int i = 0; i < DIRECT_BLOCK; i++) {
        const int at = work->first + i, row = at / (kind->down * kind->across);
        const int y = at / kind->across % kind->down * step + kind->y;
        const int x = at % kind->across * step + kind->x;
        work->written[i] = i < work->present ? (row * height + y) * width + x : OUTSIDE;
        for (int tap = 0; tap < kind->tap_count; tap++)
            *read++ = i < work->present ? place(work, row, y, x, kind->taps[tap]) : OUTSIDE;
    }
}

static const stored *pixel_at(const struct work *work, const stored *images, int at)
{
    return at == OUTSIDE ? work->zeros : images + at * work->pixel;
}

ALWAYS_INLINE void half_write(stored *to, vec_half v)
{
    _mm_storeu_si128((__m128i *)(void *)to, (__m128i)_mm256_cvtneps_pbh((__m256)v));
}

ALWAYS_INLINE void span_write(stored *to, const struct span *span, int full, int has_half)
{
    if (full > 0)
        value_store(to, span->a);
    if (full > 1)
        value_store(to + LANES, span->b);
    if (full > 2)
        value_store(to + 2 * LANES, span->c);
    if (full > 3)
        value_store(to + 3 * LANES, span->d);
    if (has_half)
        half_write(to + (ptrdiff_t)full * LANES, span->half);
}

/* PRODUCT_ROWS pixels, one span of a group's outputs from c on. */
ALWAYS_INLINE void pixels_span(const struct work *work, const struct kind *kind, int first,
                               const stored *from, const float *weights, int c, stored *to,
                               int full, int has_half)
{
    const int group = work->conv->group, *read = work->read + (ptrdiff_t)first * kind->tap_count;
    struct span sums[PRODUCT_ROWS] = {0};
    for (int tap = 0; tap < kind->tap_count; tap++) {
        const float *row = weights + (ptrdiff_t)kind->taps[tap] * (group / 2) * group + c;
        const stored *pixels[PRODUCT_ROWS];
#pragma GCC unroll 6
        for (int i = 0; i < PRODUCT_ROWS; i++)
            pixels[i] = pixel_at(work, from, read[i * kind->tap_count + tap]);
        for (ptrdiff_t pair = 0; pair < group; pair += 2, row += group) {
            const struct span w = span_load(row, full, has_half);
#pragma GCC unroll 6
            for (int i = 0; i < PRODUCT_ROWS; i++)
                span_add(&sums[i], &w, pixels[i] + pair);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < PRODUCT_ROWS; i++) {
        const int at = work->written[first + i];
        span_write((at == OUTSIDE ? work->unread : to + at * work->pixel) + c, &sums[i], full,
                   has_half);
    }
}

/* Writes all pixels of a kind. weights: [groups][9][group/2][group] pairs. */
static void convolve(struct work *work, const struct kind *kind, const float *weights,
                     const stored *from, stored *to)
{
    const int group = work->conv->group;
    for (work->first = 0; work->first < kind->count; work->first += DIRECT_BLOCK) {
        list_block(work, kind);
        for (int c0 = 0; c0 < work->conv->channels; c0 += group) {
            const float *w = weights + (ptrdiff_t)c0 * DIRECT_TAPS * (group / 2);
            for (int c = 0, halves; c < group; c += halves * HALF) {
                halves = span_halves(group, c);
                for (int first = 0; first < work->present; first += PRODUCT_ROWS)
                    SPAN_CASES(pixels_span, halves, work, kind, first, from + c0, w, c, to + c0)
            }
        }
    }
}

static void direct_forward(const struct own_conv *conv, float *scratch, const void *x, void *y)
{
    struct work work = work_make(conv, scratch, 0);
    const struct kind kind = kind_of_y(conv);
    convolve(&work, &kind, conv->forward, x, y);
}

static void direct_backward_data(const struct own_conv *conv, float *scratch, const void *dy,
                                 void *dx)
{
    struct work work = work_make(conv, scratch, 1);
    for (int y = 0; y < conv->stride; y++)
        for (int x = 0; x < conv->stride; x++) {
            const struct kind kind = kind_of_dx(conv, y, x);
            convolve(&work, &kind, conv->transposed, dy, dx);
        }
}

/* Channels of two pixels beside each other. */
ALWAYS_INLINE void pair_lanes(const stored *even, const stored *odd, int lanes, float *to)
{
    const __mmask16 mask = (__mmask16)((1u << lanes) - 1);
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, even));
    const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, odd));
    const __m512i both = _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
    _mm512_mask_storeu_epi32(to, mask, both);
}

/* The listed pixels of a group, whose first channel images begins with: places has one of them
 * every `step`. */
static void pair_up(const struct work *work, const stored *images, const int *places, int step,
                    float *pairs)
{
    const int group = work->conv->group;
    for (int i = 0; i < work->present; i += 2, places += 2 * (ptrdiff_t)step, pairs += group) {
        const stored *even = pixel_at(work, images, places[0]);
        const stored *odd = pixel_at(work, images, places[step]);
        int c = 0;
        for (; c + LANES <= group; c += LANES)
            pair_lanes(even + c, odd + c, LANES, pairs + c);
        if (c < group)
            pair_lanes(even + c, odd + c, HALF, pairs + c);
    }
}

/* sums += what the listed pixels say about dw. */
static void gradient_block(const struct work *work, const stored *x, const stored *dy)
{
    const int group = work->conv->group, count = (work->present + 1) / 2;
    float *sums = work->sums;
    for (int c0 = 0; c0 < work->conv->channels; c0 += group) {
        pair_up(work, dy + c0, work->written, 1, work->dy_pairs);
        for (int tap = 0; tap < DIRECT_TAPS; tap++, sums += (ptrdiff_t)group * group) {
            pair_up(work, x + c0, work->read + tap, DIRECT_TAPS, work->x_pairs);
            span_sums(work->x_pairs, group, work->dy_pairs, group, count, sums);
        }
    }
}

/* sums [groups][9][in][out] to dw [channels][in][9]. */
static void sums_write(const struct work *work, float *dw, int accumulate)
{
    const int group = work->conv->group;
    for (int channel = 0; channel < work->conv->channels; channel++) {
        const float *sums = work->sums +
                            (ptrdiff_t)(channel / group) * DIRECT_TAPS * group * group +
                            channel % group;
        for (ptrdiff_t in = 0; in < group; in++)
            for (ptrdiff_t tap = 0; tap < DIRECT_TAPS; tap++, dw++)
                *dw = sums[(tap * group + in) * group] + (accumulate ? *dw : 0);
    }
}

static void direct_backward_weights(const struct own_conv *conv, float *scratch, const void *x,
                                    const void *dy, const struct own_gradient *gradient)
{
    struct work work = work_make(conv, scratch, 0);
    const struct kind kind = kind_of_y(conv);
    memset(work.sums, 0, (size_t)(DIRECT_TAPS * work.pixel * conv->group) * sizeof(float));
    for (work.first = 0; work.first < kind.count; work.first += DIRECT_BLOCK) {
        list_block(&work, &kind);
        gradient_block(&work, x, dy);
    }
    sums_write(&work, gradient->dw, gradient->accumulate);
}

const struct own_conv_ops KERNEL(direct_ops) = {
    .weights = direct_weights,
    .forward = direct_forward,
    .backward_data = direct_backward_data,
    .backward_weights = direct_backward_weights,
};
