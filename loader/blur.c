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
    CHUNK = 512, /* pixels of a line blurred along itself at once, for a buffer of fixed size */
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

/* taps[0] and taps[count - 1] are the far ends. */
static inline void box_sum(const uint8_t *const *taps, int count, struct box box, int length,
                           uint8_t *restrict out)
{
    for (int i = 0; i < length; i++) {
        uint32_t inner = 0;
        for (int t = 1; t < count - 1; t++)
            inner += taps[t][i];
        uint32_t ends = (uint32_t)taps[0][i] + taps[count - 1][i];
        out[i] = (uint8_t)((inner * box.full + ends * box.far + (1u << 23)) >> 24);
    }
}

/* The radii of sigma <= 2, each with its taps unrolled, and then the rest. */
SIMD_CLONES
static void box_line(const uint8_t *const *taps, struct box box, int length, uint8_t *restrict out)
{
    if (box.radius == 0)
        box_sum(taps, 3, box, length, out);
    else if (box.radius == 1)
        box_sum(taps, 5, box, length, out);
    else
        box_sum(taps, 2 * box.radius + 3, box, length, out);
}

static int clamped(int i, int size)
{
    return i < 0 ? 0 : i >= size ? size - 1 : i;
}

/* One pass along a line of `size` pixels. */
static void blur_along(const uint8_t *in, int size, struct box box, uint8_t *out)
{
    int reach = box.radius + 1;
    for (int start = 0; start < size; start += CHUNK) {
        uint8_t padded[CHUNK + TAPS_MAX];
        int count = size - start < CHUNK ? size - start : CHUNK;
        int left = start - reach, right = start + count + reach;
        for (int i = left; i < 0; i++)
            padded[i - left] = in[0];
        int first = left < 0 ? 0 : left, last = right > size ? size : right;
        memcpy(padded + (first - left), in + first, (size_t)(last - first));
        for (int i = last; i < right; i++)
            padded[i - left] = in[size - 1];
        const uint8_t *taps[TAPS_MAX];
        for (int t = 0; t < 2 * reach + 1; t++)
            taps[t] = padded + t;
        box_line(taps, box, count, out + start);
    }
}

static void blur_rows(const struct planes *in, struct box box, struct planes *out)
{
    for (int y = 0; y < in->size; y++)
        for (int channel = 0; channel < 3; channel++)
            blur_along(planes_row(in, y, channel), in->size, box, planes_row(out, y, channel));
}

static void blur_columns(const struct planes *in, struct box box, struct planes *out)
{
    for (int y = 0; y < in->size; y++) {
        const uint8_t *taps[TAPS_MAX];
        for (int t = 0; t < 2 * box.radius + 3; t++)
            taps[t] = planes_row(in, clamped(y + t - box.radius - 1, in->size), 0);
        box_line(taps, box, 3 * in->size, planes_row(out, y, 0));
    }
}

void blur_gaussian(struct planes *planes, float sigma, struct planes *scratch)
{
    CHECK(sigma >= 0.0f && sigma <= (float)BLUR_RADIUS_MAX);
    struct box box = box_of(sigma);
    CHECK(box.radius <= BLUR_RADIUS_MAX);
    planes_resize(scratch, planes->size);
    struct planes *in = planes, *out = scratch;
    for (int pass = 0; pass < 2 * PASSES; pass++) {
        if (pass < PASSES)
            blur_rows(in, box, out);
        else
            blur_columns(in, box, out);
        struct planes *swap = in;
        in = out;
        out = swap;
    }
    /* An even number of passes: the result is back in planes. */
}
