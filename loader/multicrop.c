/* multicrop.c - resize, mirror, jitter, grey, blur: SwAV's order, 8 bits between operations. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/multicrop.h"

#include "common/clock.h"
#include "common/mem.h"
#include "loader/blur.h"
#include "loader/planes.h"
#include "loader/resize.h"

struct crop {
    const struct config_crop *kind;
    struct augment augment;
    struct planes planes;
};

enum { SHRINK_MAX = 8 }; /* of an image as it is decoded */

struct multicrop {
    struct config config;
    uint64_t seed;
    uint64_t wish_position;
    int count;                 /* crops of an image, of all kinds */
    struct crop *crops;        /* [count], owned */
    struct resize_crop *boxes; /* [count], owned: crops as resize.h has them */
    struct resize *resize;
    struct planes scratch;
    int64_t *stage_us; /* borrowed; NULL: nobody asks */
    int64_t stage_start_us;
};

struct multicrop *multicrop_create(const struct config *config, uint64_t seed)
{
    struct multicrop *multicrop = mem_zero(sizeof(*multicrop));
    multicrop->config = *config;
    multicrop->seed = seed;
    multicrop->resize = resize_create();
    for (int64_t kind = 0; kind < config->crop_count; kind++)
        multicrop->count += (int)config->crops[kind].count;
    multicrop->crops = mem_zero((size_t)multicrop->count * sizeof(*multicrop->crops));
    multicrop->boxes = mem_zero((size_t)multicrop->count * sizeof(*multicrop->boxes));
    int index = 0;
    for (int64_t kind = 0; kind < config->crop_count; kind++)
        for (int64_t i = 0; i < config->crops[kind].count; i++)
            multicrop->crops[index++].kind = &multicrop->config.crops[kind];
    return multicrop;
}

void multicrop_destroy(struct multicrop *multicrop)
{
    if (multicrop == NULL)
        return;
    planes_done(&multicrop->scratch);
    for (int i = 0; i < multicrop->count; i++)
        planes_done(&multicrop->crops[i].planes);
    mem_free(multicrop->boxes);
    mem_free(multicrop->crops);
    resize_destroy(multicrop->resize);
    mem_free(multicrop);
}

void multicrop_measure(struct multicrop *multicrop, int64_t stage_us[MULTICROP_STAGES])
{
    multicrop->stage_us = stage_us;
}

static void stage_begin(struct multicrop *multicrop)
{
    if (multicrop->stage_us != NULL)
        multicrop->stage_start_us = clock_us();
}

static void stage_end(struct multicrop *multicrop, enum multicrop_stage stage)
{
    if (multicrop->stage_us == NULL)
        return;
    int64_t now_us = clock_us();
    multicrop->stage_us[stage] += now_us - multicrop->stage_start_us;
    multicrop->stage_start_us = now_us;
}

static void draw(struct multicrop *multicrop, int width, int height, uint64_t position)
{
    for (int i = 0; i < multicrop->count; i++) {
        struct crop *crop = &multicrop->crops[i];
        crop->augment = augment_draw(&multicrop->config, crop->kind, width, height, multicrop->seed,
                                     position, (uint32_t)i);
    }
}

/* The most that an image may be shrunk by before a box of it becomes a crop that would have to be
 * enlarged. */
static int shrink_of(const struct crop_box *box, int size)
{
    int side = box->width < box->height ? box->width : box->height;
    int shrink = 1;
    while (shrink < SHRINK_MAX && side >= 2 * shrink * size)
        shrink *= 2;
    return shrink;
}

/* The rectangle around all boxes. */
static struct image_part part_of(void *context, int32_t width, int32_t height)
{
    struct multicrop *multicrop = context;
    int is_shrunk = multicrop->config.data.jpeg_decode == JPEG_DECODE_SCALED;
    int left = width, top = height, right = 0, bottom = 0;
    int shrink = is_shrunk ? SHRINK_MAX : 1;
    draw(multicrop, width, height, multicrop->wish_position);
    for (int i = 0; i < multicrop->count; i++) {
        const struct crop_box *box = &multicrop->crops[i].augment.box;
        int most = shrink_of(box, (int)multicrop->crops[i].kind->size);
        shrink = most < shrink ? most : shrink;
        left = box->x < left ? box->x : left;
        top = box->y < top ? box->y : top;
        right = box->x + box->width > right ? box->x + box->width : right;
        bottom = box->y + box->height > bottom ? box->y + box->height : bottom;
    }
    return (struct image_part){left, top, right - left, bottom - top, shrink};
}

static void begin(struct multicrop *multicrop, const struct image *image)
{
    for (int i = 0; i < multicrop->count; i++) {
        struct crop *crop = &multicrop->crops[i];
        planes_resize(&crop->planes, (int)crop->kind->size);
        multicrop->boxes[i] =
            (struct resize_crop){crop->augment.box, crop->augment.is_flipped, &crop->planes};
    }
    resize_begin(multicrop->resize, &image->part, multicrop->boxes, multicrop->count);
}

static void take_rows(void *context, const struct image *image, const uint8_t *rgb, int32_t first,
                      int32_t count)
{
    struct multicrop *multicrop = context;
    stage_begin(multicrop);
    if (first == 0)
        begin(multicrop, image);
    resize_strip(multicrop->resize, rgb, (size_t)image->width * 3, first, count);
    stage_end(multicrop, MULTICROP_RESIZE);
}

struct image_wish multicrop_wish(struct multicrop *multicrop, uint64_t position)
{
    multicrop->wish_position = position;
    return (struct image_wish){.part_of = part_of, .take_rows = take_rows, .context = multicrop};
}

static void finish(struct multicrop *multicrop, struct crop *crop, uint8_t *ret_rgb)
{
    stage_begin(multicrop);
    augment_color(&crop->augment, &crop->planes);
    stage_end(multicrop, MULTICROP_COLOR);
    if (crop->augment.is_blurred)
        blur_gaussian(&crop->planes, crop->augment.sigma, &multicrop->scratch);
    stage_end(multicrop, MULTICROP_BLUR);
    planes_save(&crop->planes, ret_rgb);
    stage_end(multicrop, MULTICROP_SAVE);
}

void multicrop_image(struct multicrop *multicrop, const struct image *image, uint64_t position,
                     const struct multicrop_target *targets)
{
    stage_begin(multicrop);
    if (!image->is_handed_on) {
        draw(multicrop, image->whole_width, image->whole_height, position);
        begin(multicrop, image);
        resize_rows(multicrop->resize, image->pixels, (size_t)image->width * 3);
    }
    resize_end(multicrop->resize);
    stage_end(multicrop, MULTICROP_RESIZE);
    struct crop *crop = multicrop->crops;
    for (int64_t kind = 0; kind < multicrop->config.crop_count; kind++)
        for (int64_t i = 0; i < multicrop->config.crops[kind].count; i++)
            finish(multicrop, crop++, targets[kind].first + (size_t)i * targets[kind].stride);
}
