/* color.c - colour operations as branch-free loops over planes.
 *
 * Pillow's HSV mixes float and double arithmetic; the formulas here give its bytes with integers
 * and one float quotient. Each equality was found by trying all inputs, and tests/golden repeats
 * that for all 2^24 colours. Quotients of integers below 2^24 are floored through a float division:
 * it is correctly rounded, so it never reaches the next integer by rounding. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/color.h"

#include "loader/simd.h"

SIMD_INLINE int luma(int red, int green, int blue)
{
    return (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16;
}

/* Blend.c: other + factor * (value - other), truncated and clipped. */
SIMD_INLINE uint8_t blend(int other, int value, float factor)
{
    int mixed = (int)((float)other + factor * (float)(value - other));
    mixed = mixed < 0 ? 0 : mixed;
    return (uint8_t)(mixed > 255 ? 255 : mixed);
}

SIMD_CLONES
static void blend_constant(struct planes *planes, int other, float factor)
{
    int count = 3 * planes->size;
    for (int y = 0; y < planes->size; y++) {
        uint8_t *row = planes_row(planes, y, 0);
        for (int i = 0; i < count; i++)
            row[i] = blend(other, row[i], factor);
    }
}

SIMD_CLONES
static uint32_t luma_row(const uint8_t *red, const uint8_t *green, const uint8_t *blue, int count)
{
    uint32_t sum = 0;
    for (int x = 0; x < count; x++)
        sum += (uint32_t)luma(red[x], green[x], blue[x]);
    return sum;
}

SIMD_CLONES
static void blend_luma(uint8_t *restrict red, uint8_t *restrict green, uint8_t *restrict blue,
                       int count, float factor)
{
    for (int x = 0; x < count; x++) {
        int other = luma(red[x], green[x], blue[x]);
        red[x] = blend(other, red[x], factor);
        green[x] = blend(other, green[x], factor);
        blue[x] = blend(other, blue[x], factor);
    }
}

SIMD_CLONES
static void gray_row(uint8_t *restrict red, uint8_t *restrict green, uint8_t *restrict blue,
                     int count)
{
    for (int x = 0; x < count; x++) {
        uint8_t gray = (uint8_t)luma(red[x], green[x], blue[x]);
        red[x] = gray;
        green[x] = gray;
        blue[x] = gray;
    }
}

SIMD_INLINE int min(int a, int b)
{
    return a < b ? a : b;
}

SIMD_INLINE int max(int a, int b)
{
    return a > b ? a : b;
}

/* Without a branch, which compilers then vectorise. */
SIMD_INLINE int choose(int condition, int yes, int no)
{
    return (yes & -condition) | (no & (condition - 1));
}

/* Convert.c rgb2hsv_row. Within its sixth of the circle the hue is n - q or n + q sixths, n odd and
 * q = (max - mid) / (max - min). */
SIMD_INLINE int hue_of(int red, int green, int blue, int high, int range)
{
    int mid = red + green + blue - high - (high - range);
    float q = (float)(high - mid) / (float)max(range, 1);
    int is_red = red == high;
    int is_green = (green == high) & !is_red;
    int is_blue = !is_red & !is_green;
    int is_rising =
        (is_red & (green < blue)) | (is_green & (blue <= red)) | (is_blue & (red <= green));
    int n = choose(is_red, choose(is_rising, 5, 1),
                   choose(is_green, choose(is_rising, 1, 3), choose(is_rising, 3, 5)));
    float sixths = (float)n + (float)(2 * is_rising - 1) * q;
    /* From magenta to red Pillow's rounding never loses the last step; without this, ours would. */
    float nudge = (float)(is_red & is_rising) * 0x1p-10f;
    return (int)(sixths / 6.0f * 255.0f + nudge);
}

/* v * (1 - s/255), to the nearest; exact below 2^16. */
SIMD_INLINE int low_end(int value, int saturation)
{
    return ((value * (255 - saturation) + 128) * 257) >> 16;
}

/* v * (1 - s/255 * fraction/85), to the nearest: 21675 = 255 * 85. There are no ties. */
SIMD_INLINE int slope(int value, int saturation, int fraction)
{
    return (int)((float)(2 * value * (21675 - saturation * fraction) + 21675) * (1.0f / 43350.0f));
}

/* There (rgb2hsv) and back again (hsv2rgb) with the hue turned. */
SIMD_CLONES
static void hue_row(uint8_t *restrict reds, uint8_t *restrict greens, uint8_t *restrict blues,
                    int count, int shift)
{
    for (int x = 0; x < count; x++) {
        int red = reds[x], green = greens[x], blue = blues[x];
        int high = max(red, max(green, blue));
        int range = high - min(red, min(green, blue));
        int saturation = (int)((float)(255 * range) / (float)max(high, 1));
        int hue = (hue_of(red, green, blue, high, range) + shift) & 255;
        int sixth = (hue * 1543) >> 16; /* 2 * hue / 85; 6 only for hue 255: the start again */
        int fraction = 2 * hue - 85 * sixth;
        int low = low_end(high, saturation);
        int mid = slope(high, saturation, choose(sixth & 1, fraction, 85 - fraction));
        int at1 = sixth == 1, at2 = sixth == 2, at3 = sixth == 3, at4 = sixth == 4;
        int at5 = sixth == 5;
        reds[x] =
            (uint8_t)choose(at1, mid, choose(at4, mid, choose(at2, low, choose(at3, low, high))));
        greens[x] =
            (uint8_t)choose(at1, high, choose(at2, high, choose(at4, low, choose(at5, low, mid))));
        blues[x] =
            (uint8_t)choose(at3, high, choose(at4, high, choose(at2, mid, choose(at5, mid, low))));
    }
}

void color_brightness(struct planes *planes, float factor)
{
    blend_constant(planes, 0, factor);
}

void color_contrast(struct planes *planes, float factor)
{
    uint64_t sum = 0;
    for (int y = 0; y < planes->size; y++)
        sum += luma_row(planes_row(planes, y, 0), planes_row(planes, y, 1),
                        planes_row(planes, y, 2), planes->size);
    double mean = (double)sum / ((double)planes->size * planes->size);
    blend_constant(planes, (int)(mean + 0.5), factor);
}

void color_saturation(struct planes *planes, float factor)
{
    for (int y = 0; y < planes->size; y++)
        blend_luma(planes_row(planes, y, 0), planes_row(planes, y, 1), planes_row(planes, y, 2),
                   planes->size, factor);
}

void color_hue(struct planes *planes, int shift)
{
    for (int y = 0; y < planes->size; y++)
        hue_row(planes_row(planes, y, 0), planes_row(planes, y, 1), planes_row(planes, y, 2),
                planes->size, shift & 255);
}

void color_gray(struct planes *planes)
{
    for (int y = 0; y < planes->size; y++)
        gray_row(planes_row(planes, y, 0), planes_row(planes, y, 1), planes_row(planes, y, 2),
                 planes->size);
}
