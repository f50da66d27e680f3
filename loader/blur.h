/* blur.h - Pillow's GaussianBlur: three box blurs along each axis.
 *
 * The boxes have fractional ends that make up for a width between two odd numbers (Gwosdek et al.,
 * "Theoretical foundations of Gaussian convolution by extended box filtering", 2011; Pillow's
 * BoxBlur.c): 24-bit fixed point, 8-bit results between passes, edge pixels repeated outwards. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_BLUR_H
#define LOADER_BLUR_H

#include "loader/planes.h"

enum {
    BLUR_RADIUS_MAX = 64, /* whole pixels of one box; it grows as sigma does */
    BLUR_SIZE_MAX = 1024, /* pixels per side; what the config allows of crops */
};

/* Blurs; sigma in pixels, 0 <= sigma <= BLUR_RADIUS_MAX. scratch is overwritten; the two may swap
 * their buffers. */
void blur_gaussian(struct planes *planes, float sigma, struct planes *scratch);

#endif
