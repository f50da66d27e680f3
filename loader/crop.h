/* crop.h - which rectangle of an image a crop is cut from.
 *
 * torchvision's RandomResizedCrop: the area is a uniform fraction of the image, the logarithm of
 * the aspect ratio uniform between 3/4 and 4/3. Pure, and free of libm's exp and log, whose last
 * bit depends on the CPU: the same numbers give the same rectangle on every host. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_CROP_H
#define LOADER_CROP_H

#include "common/random.h"

struct crop_box {
    int x, y, width, height; /* pixels; always inside the image and not empty */
};

/* Draws a rectangle of an image of width x height pixels. Up to ten tries; if none fits, the
 * largest central rectangle of an allowed ratio. Takes 4 draws of 64 bits per try at most. */
struct crop_box crop_draw(struct random *random, int width, int height, double scale_min,
                          double scale_max);
/* The rectangle after ten misses, for itself. */
struct crop_box crop_central(int width, int height);

#endif
