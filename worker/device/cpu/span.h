/* span.h - a few vectors of neighbouring columns of a matrix, which stay in registers.
 *
 * Rows of values of 4 bytes, a multiple of 8 of them, lie behind each other. Their columns go
 * through registers in spans of up to three and a half or four vectors; 56 of them are three
 * vectors and a half, and no lane computes what nobody wants. A value is an fp32, or with bf16 a
 * pair of neighbouring terms of a sum, which one instruction multiplies and adds (CPU_SPAN_H). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_SPAN_H
#define WORKER_DEVICE_CPU_SPAN_H

#include "worker/device/cpu/vec.h"

#define vec_half float __attribute__((vector_size(2 * LANES)))

/* Rows whose sums stay in registers: of products, and of sums of outer products. */
enum { PRODUCT_ROWS = 6, SUMS_ROWS = 4, HALF = LANES / 2 };

ALWAYS_INLINE vec_half half_load(const float *from)
{
    vec_half v;
    memcpy(&v, from, sizeof(v));
    return v;
}

ALWAYS_INLINE void half_store(float *to, vec_half v)
{
    memcpy(to, &v, sizeof(v));
}

/* A span of one row: `full` vectors, and a half if has_half. Not an array: clang leaves that in
 * memory. */
struct span {
    vec a, b, c, d;
    vec_half half;
};

ALWAYS_INLINE struct span span_load(const float *from, int full, int has_half)
{
    return (struct span){
        .a = full > 0 ? vec_load(from) : (vec){0},
        .b = full > 1 ? vec_load(from + LANES) : (vec){0},
        .c = full > 2 ? vec_load(from + 2 * LANES) : (vec){0},
        .d = full > 3 ? vec_load(from + 3 * LANES) : (vec){0},
        .half = has_half ? half_load(from + (ptrdiff_t)full * LANES) : (vec_half){0},
    };
}

ALWAYS_INLINE void span_store(float *to, const struct span *span, int full, int has_half)
{
    if (full > 0)
        vec_store(to, span->a);
    if (full > 1)
        vec_store(to + LANES, span->b);
    if (full > 2)
        vec_store(to + 2 * LANES, span->c);
    if (full > 3)
        vec_store(to + 3 * LANES, span->d);
    if (has_half)
        half_store(to + (ptrdiff_t)full * LANES, span->half);
}

/* Of fp32 in either case. */
ALWAYS_INLINE struct span span_sum(const struct span *x, const struct span *y)
{
    return (struct span){x->a + y->a, x->b + y->b, x->c + y->c, x->d + y->d, x->half + y->half};
}

#include CPU_SPAN_H

/* Calls function(..., full, has_half) with constants for a span of `halves` half vectors. */
#define SPAN_CASES(function, halves, ...)                                                          \
    switch (halves) {                                                                              \
        SPAN_CASE_(function, 1, __VA_ARGS__)                                                       \
        SPAN_CASE_(function, 2, __VA_ARGS__)                                                       \
        SPAN_CASE_(function, 3, __VA_ARGS__)                                                       \
        SPAN_CASE_(function, 4, __VA_ARGS__)                                                       \
        SPAN_CASE_(function, 5, __VA_ARGS__)                                                       \
        SPAN_CASE_(function, 6, __VA_ARGS__)                                                       \
        SPAN_CASE_(function, 7, __VA_ARGS__)                                                       \
        SPAN_CASE_(function, 8, __VA_ARGS__)                                                       \
    }
#define SPAN_CASE_(function, halves, ...)                                                          \
    case halves:                                                                                   \
        function(__VA_ARGS__, (halves) / 2, (halves) % 2);                                         \
        break;

/* Half vectors of the span that begins at column c of so many: spans of a row are about equal. */
static int span_halves(int columns, int c)
{
    const int all = columns / HALF, spans = (all + 7) / 8, each = (all + spans - 1) / spans;
    const int left = (columns - c) / HALF;
    return left < each ? left : each;
}

/* One span of PRODUCT_ROWS rows y = x * weights; in, columns and out are the lengths of rows of x,
 * weights and y. Asks for the cache lines of the next PRODUCT_ROWS rows of y, and of x, of which
 * all spans have the same, if is_first: the loop over a row of x is too long, and over its rows too
 * short, for the processor to do so in time. */
ALWAYS_INLINE void product_span(const float *x, ptrdiff_t in, const float *weights,
                                ptrdiff_t columns, float *y, ptrdiff_t out, int is_first, int full,
                                int has_half)
{
    struct span sums[PRODUCT_ROWS] = {0};
    const float *next_x = x + PRODUCT_ROWS * in, *next_y = y + PRODUCT_ROWS * out;
    for (int i = 0; i < PRODUCT_ROWS; i++, next_y += out)
        for (ptrdiff_t c = 0; c < full + has_half; c++)
            __builtin_prefetch(next_y + c * LANES, 1);
    for (ptrdiff_t first = 0; first < in; first += LANES, next_x += LANES) {
        const ptrdiff_t end = in - first < LANES ? in : first + LANES;
        for (int i = 0; i < PRODUCT_ROWS && is_first; i++)
            __builtin_prefetch(next_x + i * in);
        for (ptrdiff_t k = first; k < end; k++, weights += columns) {
            const struct span row = span_load(weights, full, has_half);
#pragma GCC unroll 6
            for (int i = 0; i < PRODUCT_ROWS; i++)
                span_add(&sums[i], &row, x + i * in + k);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < PRODUCT_ROWS; i++)
        span_store(y + i * out, &sums[i], full, has_half);
}

/* SUMS_ROWS rows of span_sums, one span of columns. */
ALWAYS_INLINE void sums_span(const float *a, int rows, const float *b, int columns, int count,
                             float *to, int full, int has_half)
{
    struct span sums[SUMS_ROWS] = {0};
    for (int i = 0; i < count; i++, a += rows, b += columns) {
        const struct span row = span_load(b, full, has_half);
#pragma GCC unroll 4
        for (int at = 0; at < SUMS_ROWS; at++)
            span_add(&sums[at], &row, a + at);
    }
#pragma GCC unroll 4
    for (int i = 0; i < SUMS_ROWS; i++, to += columns) {
        const struct span before = span_load(to, full, has_half);
        const struct span sum = span_sum(&before, &sums[i]);
        span_store(to, &sum, full, has_half);
    }
}

/* sums [rows][columns] += sum over i < count of a[i][rows]' * b[i][columns]. */
static void span_sums(const float *a, int rows, const float *b, int columns, int count, float *sums)
{
    for (int c = 0, halves; c < columns; c += halves * HALF) {
        halves = span_halves(columns, c);
        for (ptrdiff_t row = 0; row < rows; row += SUMS_ROWS)
            SPAN_CASES(sums_span, halves, a + row, rows, b + c, columns, count,
                       sums + row * columns + c)
    }
}

#endif
