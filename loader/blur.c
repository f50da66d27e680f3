/* blur.c - box blurs whose taps are whole rows or shifted views of one row. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/blur.h"

#include <math.h>
#include <string.h>

#include "common/check.h"
#include "loader/simd.h"

enum {
    PASSES = 3,
    TAPS_MAX = 2 * BLUR_RADIUS_MAX + 3,
    LINE_MAX = 3 * (BLUR_SIZE_MAX + 2 * (BLUR_RADIUS_MAX + 1)), /* a row with its edges repeated */
};

struct box {
    int radius;         /* pixels of full weight on either side of the middle */
    uint32_t full, far; /* weights in 1/2^24: of the inner pixels, of one more at either end */
};

/* BoxBlur.c: _gaussian_blur_radius and the head of ImagingHorizontalBoxBlur, type for type. */
static struct box box_of(float sigma)
{
    float sigma2 = sigma * sigma / PASSES;
    float length = (float)sqrt(12.0 * sigma2 + 1.0);
    float l = (float)floor((length - 1.0) / 2.0);
    float a = (2 * l + 1) * (l * (l + 1) - 3 * sigma2);
    a /= 6 * (sigma2 - (l + 1) * (l + 1));
    float exact = l + a;
    struct box box = {.radius = (int)exact};
    box.full = (uint32_t)((float)(1 << 24) / (exact * 2 + 1));
    box.far = ((1u << 24) - (uint32_t)(box.radius * 2 + 1) * box.full) / 2;
    return box;
}

SIMD_INLINE uint8_t weighed(struct box box, uint32_t inner, uint32_t ends)
{
    return (uint8_t)((inner * box.full + ends * box.far + (1u << 23)) >> 24);
}

/* Radius 0: a and c are the far ends. */
SIMD_INLINE void sum3(const uint8_t *a, const uint8_t *b, const uint8_t *c, struct box box,
                      int length, uint8_t *restrict out)
{
    for (int i = 0; i < length; i++)
        out[i] = weighed(box, b[i], (uint32_t)a[i] + c[i]);
}

/* Radius 1. */
SIMD_INLINE void sum5(const uint8_t *a, const uint8_t *b, const uint8_t *c, const uint8_t *d,
                      const uint8_t *e, struct box box, int length, uint8_t *restrict out)
{
    for (int i = 0; i < length; i++)
        out[i] = weighed(box, (uint32_t)b[i] + c[i] + d[i], (uint32_t)a[i] + e[i]);
}

SIMD_INLINE void sum_any(const uint8_t *const *taps, struct box box, int length,
                         uint8_t *restrict out)
{
    int last = 2 * box.radius + 2;
    for (int i = 0; i < length; i++) {
        uint32_t inner = 0;
        for (int t = 1; t < last; t++)
            inner += taps[t][i];
        out[i] = weighed(box, inner, (uint32_t)taps[0][i] + taps[last][i]);
    }
}

static int clamped(int i, int size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

/* Without a call for the one or two bytes of sigma <= 2. */
SIMD_INLINE void repeat(uint8_t *to, uint8_t value, int count)
{
    to[0] = value;
    to[count - 1] = value;
    if (count > 2)
        memset(to, value, (size_t)count);
}

/* Repeats the first and the last of the `size` pixels that stand `reach` into each third of line.
 */
SIMD_INLINE void pad(uint8_t *line, int size, int reach)
{
    for (int channel = 0; channel < 3; channel++, line += size + 2 * reach) {
        repeat(line, line[reach], reach);
        repeat(line + reach + size, line[reach + size - 1], reach);
    }
}

/* Sums of neighbours on a line; the first is at in. The radii of sigma <= 2 have loops of their
 * own, here and across lines, which compilers vectorise. */
SIMD_INLINE void sum_along(const uint8_t *in, struct box box, int length, uint8_t *restrict out)
{
    if (box.radius == 0) {
        sum3(in, in + 1, in + 2, box, length, out);
    } else if (box.radius == 1) {
        sum5(in, in + 1, in + 2, in + 3, in + 4, box, length, out);
    } else {
        const uint8_t *taps[TAPS_MAX] = {0};
        for (int t = 0; t < 2 * box.radius + 3; t++)
            taps[t] = in + t;
        sum_any(taps, box, length, out);
    }
}

SIMD_INLINE const uint8_t *near_row(const struct planes *planes, int y)
{
    return planes_row(planes, clamped(y, planes->size), 0);
}

SIMD_INLINE void sum_across(const struct planes *in, int y, struct box box, uint8_t *restrict out)
{
    int length = 3 * in->size;
    if (box.radius == 0) {
        sum3(near_row(in, y - 1), near_row(in, y), near_row(in, y + 1), box, length, out);
    } else if (box.radius == 1) {
        sum5(near_row(in, y - 2), near_row(in, y - 1), near_row(in, y), near_row(in, y + 1),
             near_row(in, y + 2), box, length, out);
    } else {
        const uint8_t *taps[TAPS_MAX] = {0};
        for (int t = 0; t < 2 * box.radius + 3; t++)
            taps[t] = near_row(in, y + t - box.radius - 1);
        sum_any(taps, box, length, out);
    }
}

/* All passes along one row, in place. The three channels are one line; sums that straddle two of
 * them fall on padding, which is written anew after each pass. */
SIMD_CLONES
static void blur_row(uint8_t *row, int size, struct box box)
{
    uint8_t lines[2][LINE_MAX];
    int reach = box.radius + 1;
    int span = size + 2 * reach;
    for (int channel = 0; channel < 3; channel++)
        memcpy(lines[0] + channel * span + reach, row + channel * size, (size_t)size);
    for (int pass = 0; pass < PASSES; pass++) {
        uint8_t *in = lines[pass & 1], *out = lines[~pass & 1];
        pad(in, size, reach);
        sum_along(in, box, 3 * span - 2 * reach, out + reach);
    }
    for (int channel = 0; channel < 3; channel++)
        memcpy(row + channel * size, lines[PASSES & 1] + channel * span + reach, (size_t)size);
}

/* One pass along the columns. */
SIMD_CLONES
static void blur_columns(const struct planes *in, struct box box, struct planes *out)
{
    for (int y = 0; y < in->size; y++)
        sum_across(in, y, box, planes_row(out, y, 0));
}

void blur_gaussian(struct planes *planes, float sigma, struct planes *scratch)
{
    CHECK(sigma >= 0.0f && sigma <= (float)BLUR_RADIUS_MAX && planes->size <= BLUR_SIZE_MAX);
    struct box box = box_of(sigma);
    planes_resize(scratch, planes->size);
    for (int y = 0; y < planes->size; y++)
        blur_row(planes_row(planes, y, 0), planes->size, box);
    blur_columns(planes, box, scratch);
    blur_columns(scratch, box, planes);
    blur_columns(planes, box, scratch);
    struct planes swap = *planes;
    *planes = *scratch;
    *scratch = swap;
}
