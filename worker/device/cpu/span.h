/* span.h - a few vectors of neighbouring columns of a matrix, which stay in registers.
 *
 * Rows of `group` values of 4 bytes, a multiple of 8, lie behind each other. Their columns go
 * through registers in spans of up to three and a half or four vectors; a group of 56 is three
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

/* Half vectors of the span that begins at column c of a group: spans of a group are about equal.
 */
static int span_halves(int group, int c)
{
    const int all = group / HALF, spans = (all + 7) / 8, each = (all + spans - 1) / spans;
    const int left = (group - c) / HALF;
    return left < each ? left : each;
}

/* SUMS_ROWS rows of span_sums, one span of columns. */
ALWAYS_INLINE void sums_span(const float *before, const float *after, int count, int group,
                             float *to, int full, int has_half)
{
    struct span sums[SUMS_ROWS];
#pragma GCC unroll 4
    for (int i = 0; i < SUMS_ROWS; i++)
        sums[i] = span_load(to + (ptrdiff_t)i * group, full, has_half);
    for (int i = 0; i < count; i++, before += group, after += group) {
        const struct span row = span_load(after, full, has_half);
#pragma GCC unroll 4
        for (int at = 0; at < SUMS_ROWS; at++)
            span_add(&sums[at], &row, before + at);
    }
#pragma GCC unroll 4
    for (int i = 0; i < SUMS_ROWS; i++)
        span_store(to + (ptrdiff_t)i * group, &sums[i], full, has_half);
}

/* sums [group][group] += sum over i < count of before[i]' * after[i]. */
static void span_sums(const float *before, const float *after, int count, int group, float *sums)
{
    for (int c = 0, halves; c < group; c += halves * HALF) {
        halves = span_halves(group, c);
        for (ptrdiff_t row = 0; row < group; row += SUMS_ROWS)
            SPAN_CASES(sums_span, halves, before + row, after + c, count, group,
                       sums + row * group + c)
    }
}

#endif
