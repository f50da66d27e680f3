/* winograd.h - 3x3 convolutions in groups by minimal filtering (Winograd 1980, Lavin and Gray
 * 2015), which takes 16 multiplications for four outputs where 36 taps are.
 *
 * In one dimension, with stride 1, two outputs of three taps w meet four inputs x:
 *   y0 = m0 + m1 + m2       m0 = (x0 - x2) w0    m1 = (x1 + x2) (w0 + w1 + w2)/2
 *   y1 = m1 - m2 - m3       m3 = (x1 - x3) w2    m2 = (x2 - x1) (w0 - w1 + w2)/2
 * with stride 2, where odd and even inputs meet taps of their own, five inputs (25 for 36):
 *   y0 = m0 + m1 + m3       m0 = (x0 - x2) w0    m1 = x2 (w0 + w2)    m2 = (x4 - x2) w2
 *   y1 = m1 + m2 + m4       m3 = x1 w1           m4 = x3 w1
 * In two dimensions the same is done to rows, then to columns. So a tile of inputs becomes 4x4 or
 * 5x5 positions, each of them is multiplied by that position's [group][group] weights, for all
 * tiles at once a matrix product, and what comes out becomes 2x2 outputs. The data gradient with
 * stride 1 is a convolution with reversed taps; with stride 2 three gradients of y become, through
 * the same products of reversed taps, four of x:
 *   dx1 = m0 + m1, dx3 = m1 + m2, dx0 = m3, dx2 = m4;  (d0 - d1), d1, (d2 - d1), d0, d1
 * The weight gradient sends gradients of y to positions by the transpose of y(m), sums over tiles
 * their products with the inputs there, and comes back by the transpose of w's way.
 *
 * Sums and differences of inputs cost about one bit of accuracy. Only for fp32: with bf16 it was no
 * faster than oneDNN, whose products take half the time there. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_WINOGRAD_H
#define WORKER_DEVICE_CPU_WINOGRAD_H

#include "worker/device/cpu/own_conv.h"

/* Positions in one dimension. */
enum { WINOGRAD_SIDE_MAX = 5, WINOGRAD_POSITIONS_MAX = WINOGRAD_SIDE_MAX * WINOGRAD_SIDE_MAX };

int winograd_side(const struct own_conv *conv);
/* Tiles whose positions are worked on at a time: a multiple of what a product takes. */
int winograd_block(const struct own_conv *conv);
/* Tiles of an image: down, and across. */
int winograd_tiles_down(const struct own_conv *conv);
int winograd_tiles_across(const struct own_conv *conv);

#endif
