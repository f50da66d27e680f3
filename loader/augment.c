/* augment.c - the draws of one crop, in a fixed order from a generator of its own, and what they do
 * to its colours. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/augment.h"

#include "common/random.h"
#include "loader/color.h"

static int is_drawn(struct random *random, double probability)
{
    return random_uniform(random, 0.0, 1.0) < probability;
}

/* torchvision's ColorJitter: factors uniform in [max(0, 1 - strength), 1 + strength]; an operation
 * of strength 0 is left out. All numbers are drawn in any case. */
static void draw_jitter(struct random *random, const struct config *config, struct augment *augment)
{
    const double strengths[AUGMENT_COLORS] = {config->augment.brightness, config->augment.contrast,
                                              config->augment.saturation, config->augment.hue};
    for (int i = 0; i < AUGMENT_HUE; i++) {
        double low = strengths[i] < 1.0 ? 1.0 - strengths[i] : 0.0;
        augment->factors[i] = (float)random_uniform(random, low, 1.0 + strengths[i]);
    }
    double hue = random_uniform(random, -config->augment.hue, config->augment.hue);
    augment->hue_shift = (int)(hue * 255);

    enum augment_color order[AUGMENT_COLORS];
    for (int i = 0; i < AUGMENT_COLORS; i++)
        order[i] = (enum augment_color)i;
    for (int i = AUGMENT_COLORS - 1; i > 0; i--) {
        uint32_t other = random_below(random, (uint32_t)i + 1);
        enum augment_color swap = order[i];
        order[i] = order[other];
        order[other] = swap;
    }
    for (int i = 0; i < AUGMENT_COLORS; i++)
        if (strengths[order[i]] > 0.0)
            augment->colors[augment->color_count++] = order[i];
}

struct augment augment_draw(const struct config *config, const struct config_crop *crop, int width,
                            int height, uint64_t seed, uint64_t position, uint32_t crop_index)
{
    struct random random;
    random_init(&random, seed, RANDOM_STREAM_CROP, position, crop_index);
    struct augment augment = {
        .box = crop_draw(&random, width, height, crop->scale_min, crop->scale_max),
    };
    augment.is_flipped = is_drawn(&random, config->augment.flip);
    if (is_drawn(&random, config->augment.jitter))
        draw_jitter(&random, config, &augment);
    augment.is_gray = is_drawn(&random, config->augment.gray);
    augment.is_blurred = is_drawn(&random, config->augment.blur);
    augment.sigma = (float)random_uniform(&random, config->augment.blur_sigma_min,
                                          config->augment.blur_sigma_max);
    return augment;
}

static void apply(const struct augment *augment, enum augment_color color, struct planes *planes)
{
    switch (color) {
    case AUGMENT_BRIGHTNESS:
        color_brightness(planes, augment->factors[color]);
        break;
    case AUGMENT_CONTRAST:
        color_contrast(planes, augment->factors[color]);
        break;
    case AUGMENT_SATURATION:
        color_saturation(planes, augment->factors[color]);
        break;
    case AUGMENT_HUE:
        color_hue(planes, augment->hue_shift);
        break;
    case AUGMENT_COLORS:
        break; /* their number, none of them */
    }
}

void augment_color(const struct augment *augment, struct planes *planes)
{
    for (int i = 0; i < augment->color_count; i++)
        apply(augment, augment->colors[i], planes);
    if (augment->is_gray)
        color_gray(planes);
}
