/* augment.h - what happens to one crop, drawn as a pure function of (seed, position, crop).
 *
 * SwAV's order: random resized crop, mirror, colour jitter (its operations in random order), grey,
 * blur; every crop independently (swav: src/multicropdataset.py). Probabilities and strengths come
 * from the config. A new operation on colours is one of color.h, drawn and called here:
 * multicrop.c, which cuts, calls and blurs, need not know it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_AUGMENT_H
#define LOADER_AUGMENT_H

#include <stdint.h>

#include "common/config.h"
#include "loader/crop.h"
#include "loader/planes.h"

enum augment_color {
    AUGMENT_BRIGHTNESS,
    AUGMENT_CONTRAST,
    AUGMENT_SATURATION,
    AUGMENT_HUE,
    AUGMENT_COLORS,
};

struct augment {
    struct crop_box box;
    int is_flipped;
    int color_count; /* operations of the jitter; 0 when it was not drawn */
    enum augment_color colors[AUGMENT_COLORS];
    float factors[AUGMENT_COLORS]; /* by operation, not by turn; [AUGMENT_HUE] is unused */
    int hue_shift;                 /* in 1/256 of the circle */
    int is_gray;
    int is_blurred;
    float sigma; /* of the blur, in pixels of the crop */
};

/* crop_index counts the crops of an image through all kinds; `crop` is its kind. width and height
 * are the image's. */
struct augment augment_draw(const struct config *config, const struct config_crop *crop, int width,
                            int height, uint64_t seed, uint64_t position, uint32_t crop_index);
/* Jitter, then grey, in place, of a crop that was resized. */
void augment_color(const struct augment *augment, struct planes *planes);

#endif
