/* resize.c - separable resampling: Pillow's filter, and a strip of rows after the other through the
 * kernels.
 *
 * A strip is transposed once and then read by every crop that it passes through: six crops cover
 * the same pixels twice over. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/resize.h"

#include <limits.h>
#include <math.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "loader/resize_kernels.h"

enum {
    LANES = PLANES_ROW_STEP,
    STRIP = RESIZE_STRIP,
    WEIGHT_BITS = RESIZE_WEIGHT_BITS,
    TAPS_MAX = 16000, /* more, and rounding of weights could carry 255 to 256 */
};

struct taps {
    struct resize_taps filter; /* its arrays are owned */
    double *exact;             /* of one output, before rounding */
    size_t outputs_capacity, weights_capacity, exact_capacity;
};

/* The pixels of one axis that a box touches, and where in them it begins and how long it is. */
struct span {
    int first, count;
    double start, length;
};

/* One crop between the two passes. */
struct half {
    struct span columns, rows;
    struct taps horizontal, vertical;
    int first_row;   /* of middle: begins the strip in which the box does */
    uint8_t *middle; /* [whole strips][row_bytes of planes], owned */
    size_t middle_capacity;
    struct planes *planes;
    int is_flipped;
};

struct resize {
    const struct resize_kernels *kernels; /* of this CPU */
    uint8_t *strip[2];                    /* transposed, before and after the weighing */
    size_t strip_capacity[2];
    struct half *halves;
    int half_count; /* that there is memory for */
    int count;      /* that are being filled */
    int bottom;     /* row below all of them */
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
    mem_free(taps->filter.first);
    mem_free(taps->filter.count);
    mem_free(taps->filter.weights);
    mem_free(taps->exact);
}

static void taps_reserve(struct taps *taps, int outputs)
{
    size_t capacity = taps->outputs_capacity;
    taps->filter.first =
        grown(taps->filter.first, &capacity, (size_t)outputs, sizeof(*taps->filter.first));
    taps->filter.count = grown(taps->filter.count, &taps->outputs_capacity, (size_t)outputs,
                               sizeof(*taps->filter.count));
    taps->filter.weights =
        grown(taps->filter.weights, &taps->weights_capacity,
              (size_t)outputs * (size_t)taps->filter.stride, sizeof(*taps->filter.weights));
    taps->exact = grown(taps->exact, &taps->exact_capacity, (size_t)taps->filter.stride,
                        sizeof(*taps->exact));
}

/* Pillow's precompute_coeffs and normalize_coeffs_8bpc for the triangle filter. The span becomes
 * `scaled` pixels, of which outputs from `start` on are wanted. */
static void taps_compute(struct taps *taps, const struct span *span, int scaled, int start,
                         int outputs)
{
    int inputs = span->count;
    double scale = span->length / scaled;
    double support = scale < 1.0 ? 1.0 : scale; /* also what the filter is stretched by */
    double shrink = 1.0 / support;
    taps->filter.stride = (int)ceil(support) * 2 + 1;
    CHECK(taps->filter.stride < TAPS_MAX);
    taps_reserve(taps, outputs);
    for (int i = 0; i < outputs; i++) {
        double center = span->start + (start + i + 0.5) * scale;
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
        int32_t *weights = taps->filter.weights + (size_t)i * (size_t)taps->filter.stride;
        for (int t = 0; t < last - first; t++)
            weights[t] = (int32_t)(0.5 + taps->exact[t] / sum * (1 << WEIGHT_BITS));
        taps->filter.first[i] = first;
        taps->filter.count[i] = last - first;
    }
}

/* The box's pixels from `start` to `start + length` of an axis that begins at `origin`. */
static struct span span_of(int start, int length, int origin, int shrink)
{
    int from = start - origin, end = from + length;
    int first = from / shrink;
    return (struct span){
        .first = first,
        .count = (end + shrink - 1) / shrink - first,
        .start = (double)(from - first * shrink) / shrink,
        .length = (double)length / shrink,
    };
}

struct resize *resize_create(void)
{
    struct resize *resize = mem_zero(sizeof(*resize));
    resize->kernels = resize_kernels_list()[0];
    return resize;
}

void resize_destroy(struct resize *resize)
{
    if (resize == NULL)
        return;
    for (int i = 0; i < resize->half_count; i++) {
        taps_done(&resize->halves[i].horizontal);
        taps_done(&resize->halves[i].vertical);
        mem_free(resize->halves[i].middle);
    }
    mem_free(resize->halves);
    mem_free(resize->strip[0]);
    mem_free(resize->strip[1]);
    mem_free(resize);
}

static void halves_reserve(struct resize *resize, int count)
{
    if (count <= resize->half_count)
        return;
    struct half *halves = mem_zero((size_t)count * sizeof(*halves));
    if (resize->half_count > 0)
        memcpy(halves, resize->halves, (size_t)resize->half_count * sizeof(*halves));
    mem_free(resize->halves);
    resize->halves = halves;
    resize->half_count = count;
}

static int is_touched(const struct span *span, int first, int count)
{
    return span->first < first + count && span->first + span->count > first;
}

/* The columns of all boxes that have pixels in these rows. */
static struct span columns_of(const struct resize *resize, int first, int count)
{
    int left = INT_MAX, right = 0;
    for (int i = 0; i < resize->count; i++) {
        const struct span *columns = &resize->halves[i].columns;
        if (!is_touched(&resize->halves[i].rows, first, count))
            continue;
        left = columns->first < left ? columns->first : left;
        if (columns->first + columns->count > right)
            right = columns->first + columns->count;
    }
    return (struct span){.first = left, .count = right > left ? right - left : 0};
}

/* Spans, taps and planes of `count` halves are set. */
static void begin(struct resize *resize, int count)
{
    int outputs = 0;
    resize->count = count;
    resize->bottom = 0;
    for (int i = 0; i < count; i++) {
        struct half *half = &resize->halves[i];
        int bottom = half->rows.first + half->rows.count;
        half->first_row = half->rows.first / STRIP * STRIP;
        size_t rows = (size_t)(bottom - half->first_row + STRIP - 1) / STRIP * STRIP;
        half->middle =
            grown(half->middle, &half->middle_capacity, rows * half->planes->row_bytes, 1);
        outputs = half->planes->size > outputs ? half->planes->size : outputs;
        resize->bottom = bottom > resize->bottom ? bottom : resize->bottom;
    }
    const size_t slack = RESIZE_CHUNK_MAX * STRIP; /* strips are written in whole chunks */
    const size_t columns = (size_t)columns_of(resize, 0, resize->bottom).count;
    resize->strip[0] =
        grown(resize->strip[0], &resize->strip_capacity[0], columns * LANES + slack, 1);
    resize->strip[1] =
        grown(resize->strip[1], &resize->strip_capacity[1], (size_t)outputs * LANES + slack, 1);
}

/* Rows first: every half's middle. */
void resize_strip(struct resize *resize, const uint8_t *rgb, size_t row_bytes, int first, int count)
{
    const struct resize_kernels *kernels = resize->kernels;
    struct span all = columns_of(resize, first, count);
    if (all.count == 0)
        return;
    const uint8_t *rows[STRIP];
    for (int i = 0; i < STRIP; i++) /* behind the last row that row stands in */
        rows[i] = rgb + (size_t)(i < count ? i : count - 1) * row_bytes + (size_t)all.first * 3;
    kernels->transpose(rows, (size_t)all.count * 3, resize->strip[0]);
    for (int i = 0; i < resize->count; i++) {
        struct half *half = &resize->halves[i];
        size_t bytes = half->planes->row_bytes;
        int size = half->planes->size;
        if (!is_touched(&half->rows, first, count))
            continue;
        kernels->weigh_columns(resize->strip[0] + (size_t)(half->columns.first - all.first) * LANES,
                               &half->horizontal.filter, size, half->is_flipped, resize->strip[1]);
        kernels->restore(resize->strip[1], (size_t)size * 3,
                         half->middle + (size_t)(first - half->first_row) * bytes, bytes);
    }
}

void resize_rows(struct resize *resize, const uint8_t *rgb, size_t row_bytes)
{
    for (int first = 0; first < resize->bottom; first += STRIP) {
        int count = resize->bottom - first;
        resize_strip(resize, rgb + (size_t)first * row_bytes, row_bytes, first,
                     count < STRIP ? count : STRIP);
    }
}

void resize_end(struct resize *resize)
{
    for (int i = 0; i < resize->count; i++) {
        const struct half *half = &resize->halves[i];
        size_t row = (size_t)(half->rows.first - half->first_row);
        resize->kernels->weigh_rows(half->middle + row * half->planes->row_bytes,
                                    &half->vertical.filter, half->planes);
    }
}

void resize_window(struct resize *resize, const uint8_t *rgb, size_t row_bytes,
                   const struct crop_box *box, const struct crop_box *window, int is_flipped,
                   struct planes *planes)
{
    halves_reserve(resize, 1);
    struct half *half = &resize->halves[0];
    half->planes = planes;
    half->is_flipped = is_flipped;
    half->columns = span_of(box->x, box->width, 0, 1);
    half->rows = span_of(box->y, box->height, 0, 1);
    taps_compute(&half->horizontal, &half->columns, window->width, window->x, planes->size);
    taps_compute(&half->vertical, &half->rows, window->height, window->y, planes->size);
    begin(resize, 1);
    resize_rows(resize, rgb, row_bytes);
    resize_end(resize);
}

void resize_box(struct resize *resize, const uint8_t *rgb, size_t row_bytes,
                const struct crop_box *box, int is_flipped, struct planes *planes)
{
    const struct crop_box whole = {.width = planes->size, .height = planes->size};
    resize_window(resize, rgb, row_bytes, box, &whole, is_flipped, planes);
}

void resize_begin(struct resize *resize, const struct image_part *part,
                  const struct resize_crop *crops, int count)
{
    halves_reserve(resize, count);
    for (int i = 0; i < count; i++) {
        const struct crop_box *box = &crops[i].box;
        struct half *half = &resize->halves[i];
        int size = crops[i].planes->size;
        half->planes = crops[i].planes;
        half->is_flipped = crops[i].is_flipped;
        half->columns = span_of(box->x, box->width, part->x, part->shrink);
        half->rows = span_of(box->y, box->height, part->y, part->shrink);
        taps_compute(&half->horizontal, &half->columns, size, 0, size);
        taps_compute(&half->vertical, &half->rows, size, 0, size);
    }
    begin(resize, count);
}
