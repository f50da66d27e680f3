/* group8.c - weights and geometry of convolutions in groups of eight channels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/group8.h"

#include "worker/device/cpu/bf16.h"

enum { GROUP = 8, TAPS = 9, CHUNK = GROUP8_CHUNK, LINE_SLACK = 24 };

/* Enough pixels to make loading and storing the sums cheap, few enough lines to stay in the L2
 * cache; BAND_LEAST keeps the lines that two bands both copy few. */
enum { BAND_PIXELS = 256, BAND_LEAST = 4 };

enum { IN_CACHE_BYTES = 512 * 1024 };

static int is_suited(const struct own_conv *conv)
{
    return own_conv_is_3x3(conv) && conv->group == GROUP;
}

static size_t chunks(const struct own_conv *conv)
{
    return ((size_t)conv->channels + CHUNK - 1) / CHUNK;
}

static size_t sums_bytes(const struct own_conv *conv)
{
    return chunks(conv) * sizeof(struct group8_sums);
}

static size_t weight_bytes(const struct own_conv *conv)
{
    return chunks(conv) * TAPS * GROUP * CHUNK * (conv->is_bf16 ? sizeof(uint16_t) : sizeof(float));
}

int group8_line_pixels(const struct own_conv *conv)
{
    return conv->width + LINE_SLACK;
}

int group8_band(const struct own_conv *conv)
{
    const int lines = BAND_PIXELS / conv->out_width;
    const int band = lines < BAND_LEAST ? BAND_LEAST : lines;
    return band < conv->out_height ? band : conv->out_height;
}

int group8_band_inputs(const struct own_conv *conv)
{
    return (group8_band(conv) - 1) * conv->stride + 3;
}

int group8_chunks(const struct own_conv *conv)
{
    const size_t image = (size_t)conv->height * (size_t)conv->width * (size_t)conv->channels *
                         (conv->is_bf16 ? sizeof(uint16_t) : sizeof(float));
    if (image < IN_CACHE_BYTES)
        return 1;
    return chunks(conv) < GROUP8_CHUNKS_MAX ? (int)chunks(conv) : GROUP8_CHUNKS_MAX;
}

/* The forward pass and the data gradient need three of each chunk. */
size_t group8_lines_bytes(const struct own_conv *conv)
{
    const int weights = group8_band_inputs(conv) + group8_band(conv);
    const int others = 3 * group8_chunks(conv);
    const int lines = weights > others ? weights : others;
    return (size_t)lines * (size_t)group8_line_pixels(conv) * CHUNK * sizeof(float);
}

/* Weight number `at`: its channel's chunk, its tap, then its round, lane and half. */
static void put(const struct own_conv *conv, void *to, size_t at, float weight)
{
    if (conv->is_bf16)
        ((uint16_t *)to)[at] = bf16_of(weight);
    else
        ((float *)to)[at] = weight;
}

/* Where the weight from input `in` of its group to channel c lies. */
static size_t place(const struct own_conv *conv, int c, int tap, int in)
{
    const size_t row = (size_t)(c / CHUNK) * TAPS + (size_t)tap, lane = (size_t)(c % CHUNK);
    if (conv->is_bf16)
        return ((row * (GROUP / 2) + (size_t)(in / 2 ^ c % (GROUP / 2))) * CHUNK + lane) * 2 +
               (size_t)(in % 2);
    return (row * GROUP + (size_t)(in ^ c % GROUP)) * CHUNK + lane;
}

/* With stride 1 the data gradient is a convolution with the taps in reverse order. */
void group8_weights(struct own_conv *conv, const float *weights)
{
    const int is_reversed = conv->stride == 1;
    for (int c = 0; c < conv->channels; c++)
        for (int tap = 0; tap < TAPS; tap++)
            for (int in = 0; in < GROUP; in++) {
                const int other = c / GROUP * GROUP + in;
                const int to_tap = is_reversed ? TAPS - 1 - tap : tap;
                put(conv, conv->forward, place(conv, c, tap, in),
                    weights[(c * GROUP + in) * TAPS + tap]);
                put(conv, conv->transposed, place(conv, c, to_tap, in),
                    weights[(other * GROUP + c % GROUP) * TAPS + tap]);
            }
}

/* On one thread it takes about half the time of oneDNN, so on two they should be about even (not
 * measured). */
const struct own_conv_method group8_method = {
    .threads_max = 2,
    .is_suited = is_suited,
    .weight_bytes = weight_bytes,
    .scratch_bytes = group8_lines_bytes,
    .is_gradient_banded = 1,
    .sums_bytes = sums_bytes,
};
