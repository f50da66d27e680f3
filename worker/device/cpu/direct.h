/* direct.h - 3x3 convolutions in groups with bf16, for groups that are no multiple of 16 channels:
 * oneDNN fills its vectors of 16 up with zeros, which takes a group of 56 an eighth of the time.
 *
 * Sums of six pixels stay in registers, three and a half vectors each of a group of 56, while taps
 * and pairs of channels go by; pixels are read where they lie, from a list of their places. With
 * the data gradient of stride 2 pixels whose coordinates are odd or even meet different taps, so
 * each of the four kinds has a list of its own. The weight gradient multiplies pairs of pixels,
 * which are laid beside each other first. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_DIRECT_H
#define WORKER_DEVICE_CPU_DIRECT_H

#include "worker/device/cpu/own_conv.h"

enum { DIRECT_TAPS = 9 };

/* Pixels that are listed at a time: a multiple of what a product takes, and even. */
enum { DIRECT_BLOCK = 192 };

/* Weights are [groups][3][3][group/2][group][2], the last two neighbouring inputs (or outputs, for
 * the data gradient), from the master layout. */
void direct_weights(struct own_conv *conv, const float *weights);

#endif
