/* vec.h - one register full of floats, in the compiler's own vector notation.
 *
 * Every kernel_*.c is compiled once per instruction set; CMakeLists.txt says how many floats a
 * register has (CPU_LANES), which header loads and stores a part of one (CPU_LANES_H), and which
 * does so with activations (CPU_VALUES_H), whose type in memory is `stored`. Channel counts such as
 * 24, 104 or 440 are no multiple of 16, so a strip of channels ends in such a part.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_VEC_H
#define WORKER_DEVICE_CPU_VEC_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { LANES = CPU_LANES };

/* A vector type has no name in C unless one is made; the house makes no typedefs. */
#define vec      float __attribute__((vector_size(4 * LANES)))
#define vec_bits uint32_t __attribute__((vector_size(4 * LANES)))

ALWAYS_INLINE vec vec_load(const float *from)
{
    vec v;
    memcpy(&v, from, sizeof(v));
    return v;
}

ALWAYS_INLINE void vec_store(float *to, vec v)
{
    memcpy(to, &v, sizeof(v));
}

#include CPU_LANES_H
#include CPU_VALUES_H

ALWAYS_INLINE vec vec_all(float x)
{
    return x - (vec){0};
}

/* v where mask is set, else 0. */
ALWAYS_INLINE vec vec_keep(vec v, vec_bits mask)
{
    return (vec)((vec_bits)v & mask);
}

/* max(v, 0); NaN stays NaN, so that a broken step is seen. */
ALWAYS_INLINE vec vec_relu(vec v)
{
    return vec_keep(v, ~(vec_bits)(v < 0.0f));
}

/* The sum of all lanes, in a fixed order. */
ALWAYS_INLINE double vec_sum(vec v)
{
    double sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += (double)v[i];
    return sum;
}

/* e^x to 2 ulp (Cephes expf: x = n ln 2 + r, |r| <= ln 2 / 2, polynomial of degree 7 in r). 0 below
 * the smallest normal number, inf above the largest, NaN for NaN. */
ALWAYS_INLINE vec vec_exp(vec x)
{
    const float low = -87.3f, high = 88.7f;
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it leaves the integer in the low bits */
    vec_bits is_low = (vec_bits)(x < low), is_high = (vec_bits)(x > high);
    x = vec_keep(x, ~(is_low | is_high));
    vec t = x * 1.44269504088896341f + round;
    vec n = t - round;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    p = p * (vec)(((vec_bits)t << 23) + (127u << 23));
    vec infinity = vec_all(__builtin_inff());
    return vec_keep(p, ~(is_low | is_high)) + vec_keep(infinity, is_high);
}

/* A whole vector, or the part of one in which a strip or a pixel ends; lanes is mostly a constant.
 */
ALWAYS_INLINE vec lanes_load(const float *from, int lanes)
{
    return lanes == LANES ? vec_load(from) : vec_load_part(from, lanes);
}

ALWAYS_INLINE void lanes_store(float *to, vec v, int lanes)
{
    if (lanes == LANES)
        vec_store(to, v);
    else
        vec_store_part(to, v, lanes);
}

/* The same of activations. */
ALWAYS_INLINE vec lanes_read(const stored *from, int lanes)
{
    return lanes == LANES ? value_load(from) : value_load_part(from, lanes);
}

ALWAYS_INLINE void lanes_write(stored *to, vec v, int lanes)
{
    if (lanes == LANES)
        value_store(to, v);
    else
        value_store_part(to, v, lanes);
}

/* A strip is up to four vectors of neighbouring channels of a pixel: enough independent sums to
 * hide the latency of an addition, and few enough to keep sums and parameters in registers. Its
 * `width` vectors are full but for the last, which has `lanes`. */
enum { STRIP = 4 * LANES };

ALWAYS_INLINE int strip_lanes(int i, int width, int lanes)
{
    return i + 1 < width ? LANES : lanes;
}

ALWAYS_INLINE vec strip_load(const float *from, int i, int width, int lanes)
{
    return lanes_load(from + (ptrdiff_t)i * LANES, strip_lanes(i, width, lanes));
}

ALWAYS_INLINE void strip_store(float *to, vec v, int i, int width, int lanes)
{
    lanes_store(to + (ptrdiff_t)i * LANES, v, strip_lanes(i, width, lanes));
}

/* The same of activations. */
ALWAYS_INLINE vec strip_read(const stored *from, int i, int width, int lanes)
{
    return lanes_read(from + (ptrdiff_t)i * LANES, strip_lanes(i, width, lanes));
}

ALWAYS_INLINE void strip_write(stored *to, vec v, int i, int width, int lanes)
{
    lanes_write(to + (ptrdiff_t)i * LANES, v, strip_lanes(i, width, lanes));
}

/* Calls function(job, c, width, lanes) for the strips of [first, end), with constants for width so
 * that each case becomes its own unrolled loop. */
#define STRIPS(function, job, first, end) STRIPS_(function, first, end, job)
/* With one argument more behind the job; and as a case of a switch by that argument. */
#define STRIPS_CASE(function, job, more, first, end)                                               \
    case more:                                                                                     \
        STRIPS_OF(function, job, more, first, end)                                                 \
        break;
#define STRIPS_OF(function, job, more, first, end) STRIPS_(function, first, end, job, more)
#define STRIPS_(function, first, end, ...)                                                         \
    for (int strip_ = (first); strip_ < (end); strip_ += STRIP) {                                  \
        const int left_ = (end)-strip_;                                                            \
        if (left_ >= STRIP)                                                                        \
            function(__VA_ARGS__, strip_, 4, LANES);                                               \
        else if (left_ > 3 * LANES)                                                                \
            function(__VA_ARGS__, strip_, 4, left_ - 3 * LANES);                                   \
        else if (left_ > 2 * LANES)                                                                \
            function(__VA_ARGS__, strip_, 3, left_ - 2 * LANES);                                   \
        else if (left_ > LANES)                                                                    \
            function(__VA_ARGS__, strip_, 2, left_ - LANES);                                       \
        else                                                                                       \
            function(__VA_ARGS__, strip_, 1, left_);                                               \
    }

#endif
