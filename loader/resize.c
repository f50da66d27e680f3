/* resize.c - separable resampling, a strip of rows at a time.
 *
 * The pass along rows is the hard one to vectorise: neighbouring outputs read unrelated bytes. So
 * a strip of rows is transposed (rounds of interleaving two byte streams, which compilers turn
 * into unpack instructions); then one column of three channels is 96 neighbouring bytes, and both
 * passes are the same kernel: 96 weighted sums over taps that lie a fixed stride apart. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/resize.h"

#include <math.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "loader/simd.h"

enum {
    STRIP = 32,               /* rows transposed together */
    LANES = PLANES_ROW_STEP,  /* bytes the kernel computes at once: a strip of RGB */
    WEIGHT_BITS = 32 - 8 - 2, /* Pillow's PRECISION_BITS */
    TAPS_MAX = 16000,         /* more, and rounding of weights could carry 255 to 256 */
};

/* The filter of one axis: output i is the sum over t < count[i] of weights[i * stride + t] times
 * input first[i] + t. */
struct taps {
    int stride;
    int *first, *count;
    int32_t *weights;
    double *exact; /* of one output, before rounding */
    size_t outputs_capacity, weights_capacity, exact_capacity;
};

struct resize {
    struct taps horizontal, vertical;
    uint8_t *strip[2]; /* two halves of the transpositions */
    size_t strip_capacity;
    uint8_t *middle; /* between the passes: [box height, whole strips][row_bytes of planes] */
    size_t middle_capacity;
};

static void *grown(void *memory, size_t *capacity, size_t count, size_t size)
{
    if (count <= *capacity)
        return memory;
    mem_free(memory);
    *capacity = count + count / 2;
    return mem_aligned(*capacity * size);
}

static void taps_done(struct taps *taps)
{
    mem_free(taps->first);
    mem_free(taps->count);
    mem_free(taps->weights);
    mem_free(taps->exact);
}

static void taps_reserve(struct taps *taps, int outputs)
{
    size_t capacity = taps->outputs_capacity;
    taps->first = grown(taps->first, &capacity, (size_t)outputs, sizeof(*taps->first));
    taps->count =
        grown(taps->count, &taps->outputs_capacity, (size_t)outputs, sizeof(*taps->count));
    taps->weights = grown(taps->weights, &taps->weights_capacity,
                          (size_t)outputs * (size_t)taps->stride, sizeof(*taps->weights));
    taps->exact =
        grown(taps->exact, &taps->exact_capacity, (size_t)taps->stride, sizeof(*taps->exact));
}

/* Pillow's precompute_coeffs and normalize_coeffs_8bpc for the triangle filter. `inputs` become
 * `scaled`, of which outputs from `start` on are wanted. */
static void taps_compute(struct taps *taps, int inputs, int scaled, int start, int outputs)
{
    double scale = (double)inputs / scaled;
    double support = scale < 1.0 ? 1.0 : scale; /* also what the filter is stretched by */
    double shrink = 1.0 / support;
    taps->stride = (int)ceil(support) * 2 + 1;
    CHECK(taps->stride < TAPS_MAX);
    taps_reserve(taps, outputs);
    for (int i = 0; i < outputs; i++) {
        double center = (start + i + 0.5) * scale;
        int first = (int)(center - support + 0.5);
        int last = (int)(center + support + 0.5);
        first = first < 0 ? 0 : first;
        last = last > inputs ? inputs : last;
        double sum = 0.0;
        for (int t = 0; t < last - first; t++) {
            double x = fabs((t + first - center + 0.5) * shrink);
            taps->exact[t] = x < 1.0 ? 1.0 - x : 0.0;
            sum += taps->exact[t];
        }
        int32_t *weights = taps->weights + (size_t)i * (size_t)taps->stride;
        for (int t = 0; t < last - first; t++)
            weights[t] = (int32_t)(0.5 + taps->exact[t] / sum * (1 << WEIGHT_BITS));
        taps->first[i] = first;
        taps->count[i] = last - first;
    }
}

/* out[2i] = a[i], out[2i+1] = b[i] */
SIMD_INLINE void interleave(const uint8_t *restrict a, const uint8_t *restrict b, size_t count,
                            uint8_t *restrict out)
{
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = a[i];
        out[2 * i + 1] = b[i];
    }
}

SIMD_INLINE void deinterleave(const uint8_t *restrict in, size_t count, uint8_t *restrict a,
                              uint8_t *restrict b)
{
    for (size_t i = 0; i < count; i++) {
        a[i] = in[2 * i];
        b[i] = in[2 * i + 1];
    }
}

/* rows: STRIP streams of `count` bytes; the result, [count][STRIP], is in strip[1]. Interleaving
 * stream k with stream k + half, halving the number of streams, leaves byte i of all rows in order
 * at the end. STRIP is 2 to an odd power, so the first round may go to strip[1]. */
SIMD_CLONES
static void strip_transpose(const uint8_t *const rows[STRIP], size_t count, uint8_t *const strip[2])
{
    for (size_t k = 0; k < STRIP / 2; k++)
        interleave(rows[k], rows[k + STRIP / 2], count, strip[1] + k * 2 * count);
    int from = 1;
    for (size_t streams = STRIP / 2; streams > 1; streams /= 2, from = !from) {
        size_t length = count * STRIP / streams, half = streams / 2;
        for (size_t k = 0; k < half; k++)
            interleave(strip[from] + k * length, strip[from] + (k + half) * length, length,
                       strip[!from] + k * 2 * length);
    }
}

/* The way back: [count][STRIP] in strip[0] to STRIP rows of count bytes. */
SIMD_CLONES
static void strip_restore(uint8_t *const strip[2], size_t count, uint8_t *rows, size_t row_bytes)
{
    int from = 0;
    for (size_t streams = 2; streams < STRIP; streams *= 2, from = !from) {
        size_t length = count * STRIP / streams, half = streams / 2;
        for (size_t k = 0; k < half; k++)
            deinterleave(strip[from] + k * 2 * length, length, strip[!from] + k * length,
                         strip[!from] + (k + half) * length);
    }
    for (size_t k = 0; k < STRIP / 2; k++)
        deinterleave(strip[from] + k * 2 * count, count, rows + k * row_bytes,
                     rows + (k + STRIP / 2) * row_bytes);
}

/* LANES weighted sums over `count` taps, `stride` bytes apart. */
SIMD_INLINE void weigh(const uint8_t *restrict in, size_t stride, const int32_t *restrict weights,
                       int count, uint8_t *restrict out)
{
    int32_t sum[LANES];
    for (int lane = 0; lane < LANES; lane++)
        sum[lane] = 1 << (WEIGHT_BITS - 1);
    for (int t = 0; t < count; t++) {
        const uint8_t *restrict tap = in + (size_t)t * stride;
        int32_t weight = weights[t];
        for (int lane = 0; lane < LANES; lane++)
            sum[lane] += tap[lane] * weight;
    }
    for (int lane = 0; lane < LANES; lane++)
        out[lane] = (uint8_t)(sum[lane] >> WEIGHT_BITS);
}

/* [columns][3][STRIP] to [3][size][STRIP]: the planes part here, and the mirror costs nothing. */
SIMD_CLONES
static void weigh_columns(const uint8_t *in, const struct taps *taps, int size, int is_flipped,
                          uint8_t *out)
{
    for (int x = 0; x < size; x++) {
        uint8_t sums[LANES];
        weigh(in + (size_t)taps->first[x] * LANES, LANES,
              taps->weights + (size_t)x * (size_t)taps->stride, taps->count[x], sums);
        size_t column = (size_t)(is_flipped ? size - 1 - x : x);
        for (size_t channel = 0; channel < 3; channel++)
            memcpy(out + (channel * (size_t)size + column) * STRIP, sums + channel * STRIP, STRIP);
    }
}

SIMD_CLONES
static void weigh_rows(const uint8_t *in, const struct taps *taps, const struct planes *planes)
{
    size_t row_bytes = planes->row_bytes;
    for (int y = 0; y < planes->size; y++)
        for (size_t column = 0; column < row_bytes; column += LANES)
            weigh(in + (size_t)taps->first[y] * row_bytes + column, row_bytes,
                  taps->weights + (size_t)y * (size_t)taps->stride, taps->count[y],
                  planes_row(planes, y, 0) + column);
}

struct resize *resize_create(void)
{
    return mem_zero(sizeof(struct resize));
}

void resize_destroy(struct resize *resize)
{
    if (resize == NULL)
        return;
    taps_done(&resize->horizontal);
    taps_done(&resize->vertical);
    mem_free(resize->strip[0]);
    mem_free(resize->strip[1]);
    mem_free(resize->middle);
    mem_free(resize);
}

static void resize_reserve(struct resize *resize, const struct crop_box *box,
                           const struct planes *planes)
{
    size_t columns = (size_t)(box->width > planes->size ? box->width : planes->size);
    size_t strip_bytes = columns * LANES;
    size_t capacity = resize->strip_capacity;
    resize->strip[0] = grown(resize->strip[0], &capacity, strip_bytes, 1);
    resize->strip[1] = grown(resize->strip[1], &resize->strip_capacity, strip_bytes, 1);
    size_t rows = ((size_t)box->height + STRIP - 1) / STRIP * STRIP;
    resize->middle = grown(resize->middle, &resize->middle_capacity, rows * planes->row_bytes, 1);
}

void resize_window(struct resize *resize, const uint8_t *rgb, size_t row_bytes,
                   const struct crop_box *box, const struct crop_box *window, int is_flipped,
                   struct planes *planes)
{
    resize_reserve(resize, box, planes);
    taps_compute(&resize->horizontal, box->width, window->width, window->x, planes->size);
    taps_compute(&resize->vertical, box->height, window->height, window->y, planes->size);
    const uint8_t *corner = rgb + (size_t)box->y * row_bytes + (size_t)box->x * 3;
    for (int top = 0; top < box->height; top += STRIP) {
        const uint8_t *rows[STRIP];
        for (int i = 0; i < STRIP; i++) { /* below the box its last row stands in */
            int y = top + i < box->height ? top + i : box->height - 1;
            rows[i] = corner + (size_t)y * row_bytes;
        }
        strip_transpose(rows, (size_t)box->width * 3, resize->strip);
        weigh_columns(resize->strip[1], &resize->horizontal, planes->size, is_flipped,
                      resize->strip[0]);
        strip_restore(resize->strip, (size_t)planes->size * 3,
                      resize->middle + (size_t)top * planes->row_bytes, planes->row_bytes);
    }
    weigh_rows(resize->middle, &resize->vertical, planes);
}

void resize_box(struct resize *resize, const uint8_t *rgb, size_t row_bytes,
                const struct crop_box *box, int is_flipped, struct planes *planes)
{
    const struct crop_box whole = {.width = planes->size, .height = planes->size};
    resize_window(resize, rgb, row_bytes, box, &whole, is_flipped, planes);
}
