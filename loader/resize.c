/* resize.c - separable resampling: Pillow's filter, and a strip of rows after the other through the
 * kernels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/resize.h"

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

struct resize {
    const struct resize_kernels *kernels; /* of this CPU */
    struct taps horizontal, vertical;
    uint8_t *strip[2]; /* transposed, before and after the weighing */
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

/* Pillow's precompute_coeffs and normalize_coeffs_8bpc for the triangle filter. `inputs` become
 * `scaled`, of which outputs from `start` on are wanted. */
static void taps_compute(struct taps *taps, int inputs, int scaled, int start, int outputs)
{
    double scale = (double)inputs / scaled;
    double support = scale < 1.0 ? 1.0 : scale; /* also what the filter is stretched by */
    double shrink = 1.0 / support;
    taps->filter.stride = (int)ceil(support) * 2 + 1;
    CHECK(taps->filter.stride < TAPS_MAX);
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
        int32_t *weights = taps->filter.weights + (size_t)i * (size_t)taps->filter.stride;
        for (int t = 0; t < last - first; t++)
            weights[t] = (int32_t)(0.5 + taps->exact[t] / sum * (1 << WEIGHT_BITS));
        taps->filter.first[i] = first;
        taps->filter.count[i] = last - first;
    }
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
    size_t strip_bytes = columns * LANES + RESIZE_CHUNK_MAX * STRIP; /* in whole chunks */
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
    const struct resize_kernels *kernels = resize->kernels;
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
        kernels->transpose(rows, (size_t)box->width * 3, resize->strip[0]);
        kernels->weigh_columns(resize->strip[0], &resize->horizontal.filter, planes->size,
                               is_flipped, resize->strip[1]);
        kernels->restore(resize->strip[1], (size_t)planes->size * 3,
                         resize->middle + (size_t)top * planes->row_bytes, planes->row_bytes);
    }
    kernels->weigh_rows(resize->middle, &resize->vertical.filter, planes);
}

void resize_box(struct resize *resize, const uint8_t *rgb, size_t row_bytes,
                const struct crop_box *box, int is_flipped, struct planes *planes)
{
    const struct crop_box whole = {.width = planes->size, .height = planes->size};
    resize_window(resize, rgb, row_bytes, box, &whole, is_flipped, planes);
}
