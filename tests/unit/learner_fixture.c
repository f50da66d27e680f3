/* learner_fixture.c - members of which each has all that a step takes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/learner_fixture.h"

#include "common/mem.h"
#include "common/random.h"

static const char tiny_yaml[] = "crops:\n"
                                "  - {count: 2, size: 24, scale_min: 0.3, scale_max: 1}\n"
                                "  - {count: 2, size: 17, scale_min: 0.1, scale_max: 0.5}\n"
                                "model: {depth: 4, w0: 16, wa: 8, wm: 2, group_width: 8,\n"
                                "  stem_width: 16, stem_stride: 1, head: [24, 16],\n"
                                "  head_batch_norm: true, prototypes: 20}\n"
                                "train: {batch_images: 24, slot_images: 4}\n"
                                "optimizer: {kind: larc, trust: 0.02}\n"
                                "swav: {freeze_prototypes_steps: 2}\n"
                                "collective: {bucket_kib: 4}\n";

const char *member_device = "cpu";

struct config tiny_config(void)
{
    struct config config;
    config_init(&config);
    assert_ok(config_load_text("tiny", tiny_yaml, strlen(tiny_yaml), &config));
    return config;
}

/* An image is a colour with noise: crops of one image look alike. */
static void paint_slot(const struct config *config, int group, uint64_t number, uint32_t slot,
                       uint8_t *pixels)
{
    const struct config_crop *crop = &config->crops[group];
    const size_t count = (size_t)(crop->size * crop->size);
    for (int64_t c = 0; c < crop->count; c++)
        for (uint32_t image = 0; image < SLOT_IMAGES; image++) {
            struct random colour, noise;
            const uint64_t index = (number * SLOTS + slot) * SLOT_IMAGES + image;
            random_init(&colour, SEED, RANDOM_STREAM_TEST, index, 0);
            random_init(&noise, SEED, RANDOM_STREAM_TEST, index, (uint32_t)(1 + group * 8 + c));
            const uint32_t base[3] = {random_below(&colour, 190), random_below(&colour, 190),
                                      random_below(&colour, 190)};
            for (size_t i = 0; i < 3 * count; i++)
                *pixels++ = (uint8_t)(base[i % 3] + random_below(&noise, 64));
        }
}

static void batch_init(struct member *member)
{
    member->batch = (struct batch){
        .slot_count = member->slot_count,
        .slot_images = SLOT_IMAGES,
        .slots = member->slots,
        .group_count = (int)member->config->crop_count,
    };
    for (int g = 0; g < member->batch.group_count; g++) {
        const struct config_crop *crop = &member->config->crops[g];
        const int64_t slot_bytes = crop->count * SLOT_IMAGES * crop->size * crop->size * 3;
        member->batch.crops[g] = mem_alloc((size_t)slot_bytes * member->slot_count);
    }
}

void batch_paint(struct member *member, uint64_t number)
{
    member->batch.step = number;
    for (int g = 0; g < member->batch.group_count; g++) {
        const struct config_crop *crop = &member->config->crops[g];
        const int64_t slot_bytes = crop->count * SLOT_IMAGES * crop->size * crop->size * 3;
        for (uint32_t i = 0; i < member->slot_count; i++)
            paint_slot(member->config, g, number, member->slots[i],
                       member->batch.crops[g] + (int64_t)i * slot_bytes);
    }
}

static void batch_done(struct member *member)
{
    for (int g = 0; g < member->batch.group_count; g++)
        mem_free(member->batch.crops[g]);
}

void member_open(struct member *member)
{
    assert_ok(device_open(member_device, 1, &member->device));
    assert_ok(state_create(member->config, member->device, &member->state));
    state_reset(member->state, SEED);
    batch_init(member);
}

void member_close(struct member *member)
{
    batch_done(member);
    state_destroy(member->state);
    device_close(member->device);
}
