/* group8.c - weights and geometry of convolutions in groups of eight channels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/group8.h"

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
    return chunks * TAPS * GROUP * CHUNK * sizeof(float);
}

void group8_init(struct group8 *group8, const struct conv_shape *shape)
{
    *group8 = (struct group8){
        .rows = shape->rows,
        .height = shape->height,
        .width = shape->width,
        .out_height = (shape->height + shape->stride - 1) / shape->stride,
        .out_width = (shape->width + shape->stride - 1) / shape->stride,
        .channels = shape->in_channels,
        .stride = shape->stride,
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

/* With stride 1 the data gradient is a convolution with the taps in reverse order. */
void group8_weights(struct group8 *group8, const float *weights)
{
    const int is_reversed = group8->stride == 1;
    for (int c = 0; c < group8->channels; c++)
        for (int tap = 0; tap < TAPS; tap++)
            for (int r = 0; r < GROUP; r++) {
                const int other = c ^ r; /* the same group: groups start at multiples of 8 */
                const int to_tap = is_reversed ? TAPS - 1 - tap : tap;
                const size_t chunk = (size_t)(c / CHUNK) * TAPS;
                const size_t lane = (size_t)(c % CHUNK);
                group8->forward[((chunk + (size_t)tap) * GROUP + (size_t)r) * CHUNK + lane] =
                    weights[(c * GROUP + other % GROUP) * TAPS + tap];
                group8->transposed[((chunk + (size_t)to_tap) * GROUP + (size_t)r) * CHUNK + lane] =
                    weights[(other * GROUP + c % GROUP) * TAPS + tap];
            }
}
