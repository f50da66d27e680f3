/* multicrop.h - all crops of one decoded image.
 *
 * The image is decoded once, as far as its crops reach, and gone through once for all of them. One
 * multicrop per thread: it keeps the buffers, so that the steady state allocates nothing. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_MULTICROP_H
#define LOADER_MULTICROP_H

#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "loader/augment.h"
#include "loader/image.h"

/* What a crop's time goes to, for the benchmark. */
enum multicrop_stage {
    MULTICROP_RESIZE,
    MULTICROP_COLOR,
    MULTICROP_BLUR,
    MULTICROP_SAVE,
    MULTICROP_STAGES,
};

/* Where the crops of one kind go: u8 RGB [size][size][3] each, `stride` bytes apart. */
struct multicrop_target {
    uint8_t *first;
    size_t stride;
};

struct multicrop;

/* config is copied. */
struct multicrop *multicrop_create(const struct config *config, uint64_t seed);
void multicrop_destroy(struct multicrop *multicrop); /* NULL is fine */
/* What image_decode_part need decode for the crops of the image at this stream position. Valid
 * until the next call. */
struct image_wish multicrop_wish(struct multicrop *multicrop, uint64_t position);
/* Cuts every crop of the image that stands at this stream position, decoded whole or, before any
 * other, by that wish. targets: one per kind of crop. */
void multicrop_image(struct multicrop *multicrop, const struct image *image, uint64_t position,
                     const struct multicrop_target *targets);
/* With stage_us (borrowed, added to) the time in each stage is measured, by the clock on the wall:
 * that of a thread's CPU time costs microseconds a look, and strips are many. NULL ends that. */
void multicrop_measure(struct multicrop *multicrop, int64_t stage_us[MULTICROP_STAGES]);

#endif
