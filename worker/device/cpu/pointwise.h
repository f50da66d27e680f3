/* pointwise.h - matrix products of pixels with weights: 1x1 convolutions, and a stem.
 *
 * Narrow 1x1 convolutions, of which RegNets of some 400 MF consist, are limited less by arithmetic
 * than by waiting for pixels. Here six pixels at a time meet all weights, which stay in the L2
 * cache, while the next six are on their way; with oneDNN 2.6 such convolutions take up to three
 * fifths longer (docs/benchmarks.md). Where an output sees few values, as in a stem on colours, the
 * patches it sees are laid out as if they were pixels. Only for fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_DEVICE_CPU_POINTWISE_H
#define WORKER_DEVICE_CPU_POINTWISE_H

#include "worker/device/cpu/own_conv.h"

/* Pixels of a product, and those that the weight gradient sums before it adds them to what is
 * there; also, that are laid out at a time. */
enum { POINTWISE_PIXELS = 6, POINTWISE_BLOCK = 126 };

/* Values that an output sees, [kernel][kernel][channels], and zeros up to a multiple of 8. */
int pointwise_inputs(const struct own_conv *conv);
/* Is x what the products take? Else its patches are laid out. */
int pointwise_is_plain(const struct own_conv *conv);

#endif
