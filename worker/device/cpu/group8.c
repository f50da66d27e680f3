/* group8.c - weights and geometry of convolutions in groups of eight channels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/group8.h"

#include <string.h>

enum { GROUP = 8, TAPS = 9, CHUNK = 16, LINE_SLACK = 24 };

/* Enough pixels to make loading and storing the sums cheap, few enough lines to stay in the L2
 * cache; BAND_LEAST keeps the lines that two bands both copy few. */
enum { BAND_PIXELS = 256, BAND_LEAST = 4 };

int group8_is_suited(const struct conv_shape *shape)
{
    return shape->kernel == 3 && shape->in_channels == shape->out_channels &&
           shape->in_channels == GROUP * shape->groups;
}

size_t group8_weight_bytes(const struct group8 *group8)
{
    const size_t chunks = ((size_t)group8->channels + CHUNK - 1) / CHUNK;
    return chunks * TAPS * GROUP * CHUNK * (group8->is_bf16 ? sizeof(uint16_t) : sizeof(float));
}

void group8_init(struct group8 *group8, const struct conv_shape *shape, int is_bf16)
{
    *group8 = (struct group8){
        .rows = shape->rows,
        .height = shape->height,
        .width = shape->width,
        .out_height = (shape->height + shape->stride - 1) / shape->stride,
        .out_width = (shape->width + shape->stride - 1) / shape->stride,
        .channels = shape->in_channels,
        .stride = shape->stride,
        .is_bf16 = is_bf16,
    };
}

int group8_line_pixels(const struct group8 *group8)
{
    return group8->width + LINE_SLACK;
}

int group8_band(const struct group8 *group8)
{
    const int lines = BAND_PIXELS / group8->out_width;
    const int band = lines < BAND_LEAST ? BAND_LEAST : lines;
    return band < group8->out_height ? band : group8->out_height;
}

int group8_band_inputs(const struct group8 *group8)
{
    return (group8_band(group8) - 1) * group8->stride + 3;
}

/* The forward pass and the data gradient need three lines, which is never more. */
size_t group8_lines_bytes(const struct group8 *group8)
{
    const int lines = group8_band_inputs(group8) + group8_band(group8);
    return (size_t)lines * (size_t)group8_line_pixels(group8) * CHUNK * sizeof(float);
}

/* Rounded to the nearest, ties to even; NaN stays NaN. */
static uint16_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    if (x != x)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* Weight number `at`: its channel's chunk, its tap, then its round, lane and half. */
static void put(const struct group8 *group8, void *to, size_t at, float weight)
{
    if (group8->is_bf16)
        ((uint16_t *)to)[at] = bf16_of(weight);
    else
        ((float *)to)[at] = weight;
}

/* Where the weight from input `in` of its group to channel c lies. */
static size_t place(const struct group8 *group8, int c, int tap, int in)
{
    const size_t row = (size_t)(c / CHUNK) * TAPS + (size_t)tap, lane = (size_t)(c % CHUNK);
    if (group8->is_bf16)
        return ((row * (GROUP / 2) + (size_t)(in / 2 ^ c % (GROUP / 2))) * CHUNK + lane) * 2 +
               (size_t)(in % 2);
    return (row * GROUP + (size_t)(in ^ c % GROUP)) * CHUNK + lane;
}

/* With stride 1 the data gradient is a convolution with the taps in reverse order. */
void group8_weights(struct group8 *group8, const float *weights)
{
    const int is_reversed = group8->stride == 1;
    for (int c = 0; c < group8->channels; c++)
        for (int tap = 0; tap < TAPS; tap++)
            for (int in = 0; in < GROUP; in++) {
                const int other = c / GROUP * GROUP + in;
                const int to_tap = is_reversed ? TAPS - 1 - tap : tap;
                put(group8, group8->forward, place(group8, c, tap, in),
                    weights[(c * GROUP + in) * TAPS + tap]);
                put(group8, group8->transposed, place(group8, c, to_tap, in),
                    weights[(other * GROUP + c % GROUP) * TAPS + tap]);
            }
}
