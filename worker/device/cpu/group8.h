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

#include <stddef.h>

#include "worker/device/device.h"

struct group8 {
    int rows, height, width, out_height, out_width, channels, stride;
    int is_bf16;
    /* [chunks][3][3][8][16], a chunk is sixteen channels, or with bf16 [chunks][3][3][4][16][2],
     * the last two neighbouring inputs; group8_weight_bytes each, the owner's. */
    void *forward, *transposed;
};

/* The kernels of one instruction set; x, y and their gradients are activations. Bytes of lines:
 * group8_lines_bytes. */
struct group8_ops {
    void (*forward)(const struct group8 *group8, float *lines, const void *x, void *y);
    void (*backward_data)(const struct group8 *group8, float *lines, const void *dy, void *dx);
    void (*backward_weights)(const struct group8 *group8, float *lines, const void *x,
                             const void *dy, float *dw, int accumulate);
};

int group8_is_suited(const struct conv_shape *shape);
/* All but the weights' memory. */
void group8_init(struct group8 *group8, const struct conv_shape *shape, int is_bf16);
size_t group8_weight_bytes(const struct group8 *group8);
/* From the master layout [channels][8][3][3]. */
void group8_weights(struct group8 *group8, const float *weights);
size_t group8_lines_bytes(const struct group8 *group8);
/* Pixels that a line has room for: its own, the zeros, and what a tile may read past its end. */
int group8_line_pixels(const struct group8 *group8);
/* Lines of dy that the weight gradient takes at a time, and the lines of x that they meet. */
int group8_band(const struct group8 *group8);
int group8_band_inputs(const struct group8 *group8);

#endif
