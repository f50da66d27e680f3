/* group8.h - 3x3 convolutions in groups of eight channels, which oneDNN runs at a fraction of peak.
 *
 * Two groups fill a vector of sixteen channels. With v one pixel of x, twist(v, r)[lane] =
 * v[lane ^ r] brings each of the eight input channels of a group to each of its outputs in eight
 * rounds, and a swap of neighbours is one cheap instruction. So y += sum over taps and r of
 * twist(x, r) * W[tap][r], with W[tap][r][lane] the weight from input lane^r to output lane. The
 * data gradient is the same with transposed W, the weight gradient the same with sums over pixels
 * of dy * twist(x, r). Lines of pixels are first copied out of the nhwc tensor into compact lines
 * with zeros at both ends: no borders to test, no strides that collide in the cache. In bf16 an
 * instruction takes two inputs of a group at once, and there are four rounds (group8_bf16.h). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_GROUP8_H
#define WORKER_DEVICE_CPU_GROUP8_H

#include "worker/device/cpu/own_conv.h"

/* Weights are [chunks][3][3][8][16], a chunk is sixteen channels, or with bf16
 * [chunks][3][3][4][16][2], the last two neighbouring inputs. */
void group8_weights(struct own_conv *conv, const float *weights);
/* Pixels that a line has room for: its own, the zeros, and what a tile may read past its end. */
int group8_line_pixels(const struct own_conv *conv);
/* Lines of dy that the weight gradient takes at a time, and the lines of x that they meet. */
int group8_band(const struct own_conv *conv);
int group8_band_inputs(const struct own_conv *conv);
/* Chunks whose lines the forward pass and the data gradient work on in turn: one where an image
 * lies in the L2 cache, so that its weights lie in L1; else more, so that memory is used in order.
 */
int group8_chunks(const struct own_conv *conv);
enum { GROUP8_CHUNKS_MAX = 8 };
size_t group8_lines_bytes(const struct own_conv *conv);

enum { GROUP8_CHUNK = 16, GROUP8_SUMS = 9 * 8 * GROUP8_CHUNK };

/* The weight gradient of a chunk so far, [3][3][8][16]. */
struct group8_sums {
    double total[GROUP8_SUMS];
    float part[GROUP8_SUMS]; /* of the last few pixels, not in total yet */
    int pixels;
};

#endif
