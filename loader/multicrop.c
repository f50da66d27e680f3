/* multicrop.c - resize, mirror, jitter, grey, blur: SwAV's order, 8 bits between operations. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/multicrop.h"

#include "common/clock.h"
#include "common/mem.h"
#include "loader/blur.h"
#include "loader/planes.h"
#include "loader/resize.h"

struct multicrop {
    struct config config;
    uint64_t seed;
    struct resize *resize;
    struct planes planes, scratch;
    int64_t *stage_us; /* borrowed; NULL: nobody asks */
    int64_t stage_start_us;
};

struct multicrop *multicrop_create(const struct config *config, uint64_t seed)
{
    struct multicrop *multicrop = mem_zero(sizeof(*multicrop));
    multicrop->config = *config;
    multicrop->seed = seed;
    multicrop->resize = resize_create();
    return multicrop;
}

void multicrop_destroy(struct multicrop *multicrop)
{
    if (multicrop == NULL)
        return;
    planes_done(&multicrop->scratch);
    planes_done(&multicrop->planes);
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
        multicrop->stage_start_us = clock_thread_us();
}

static void stage_end(struct multicrop *multicrop, enum multicrop_stage stage)
{
    if (multicrop->stage_us == NULL)
        return;
    int64_t now_us = clock_thread_us();
    multicrop->stage_us[stage] += now_us - multicrop->stage_start_us;
    multicrop->stage_start_us = now_us;
}

void multicrop_cut(struct multicrop *multicrop, const struct image *image,
                   const struct augment *augment, int size, uint8_t *ret_rgb)
{
    struct planes *planes = &multicrop->planes;
    stage_begin(multicrop);
    planes_resize(planes, size);
    resize_box(multicrop->resize, image->pixels, (size_t)image->width * 3, &augment->box,
               augment->is_flipped, planes);
    stage_end(multicrop, MULTICROP_RESIZE);
    augment_color(augment, planes);
    stage_end(multicrop, MULTICROP_COLOR);
    if (augment->is_blurred)
        blur_gaussian(planes, augment->sigma, &multicrop->scratch);
    stage_end(multicrop, MULTICROP_BLUR);
    planes_save(planes, ret_rgb);
    stage_end(multicrop, MULTICROP_SAVE);
}

void multicrop_image(struct multicrop *multicrop, const struct image *image, uint64_t position,
                     const struct multicrop_target *targets)
{
    const struct config *config = &multicrop->config;
    uint32_t crop_index = 0;
    for (int64_t kind = 0; kind < config->crop_count; kind++) {
        const struct config_crop *crop = &config->crops[kind];
        for (int64_t i = 0; i < crop->count; i++) {
            struct augment augment = augment_draw(config, crop, image->width, image->height,
                                                  multicrop->seed, position, crop_index++);
            multicrop_cut(multicrop, image, &augment, (int)crop->size,
                          targets[kind].first + (size_t)i * targets[kind].stride);
        }
    }
}
