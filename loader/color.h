/* color.h - brightness, contrast, saturation, hue and grey as Pillow and torchvision compute them.
 *
 * Each operation reads and writes 8-bit planes, as Pillow rounds between operations: the first
 * three blend with black, with a constant or with the grey picture (ImageEnhance.py, Blend.c:
 * fp32, truncated, clipped), hue goes through 8-bit HSV (Convert.c), grey is ITU-R 601 in 16-bit
 * fixed point. Bytes equal Pillow's, for every colour. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_COLOR_H
#define LOADER_COLOR_H

#include "loader/planes.h"

/* Factors are >= 0; 1 changes nothing. */
void color_brightness(struct planes *planes, float factor);
void color_contrast(struct planes *planes, float factor);
void color_saturation(struct planes *planes, float factor);
/* Turns the hue by shift/256 of the circle, either way; torchvision's factor f is shift
 * trunc(255 f). */
void color_hue(struct planes *planes, int shift);
void color_gray(struct planes *planes);

#endif
