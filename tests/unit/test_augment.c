/* test_augment.c - the draws of crops: bounds, statistics, independence of everything but the
 * position. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>

#include "common/random.h"
#include "loader/augment.h"
#include "loader/crop.h"

enum { DRAWS = 20000 };

static const struct config_crop large = {
    .count = 2, .size = 224, .scale_min = 0.14, .scale_max = 1};
static const struct config_crop small = {
    .count = 4, .size = 96, .scale_min = 0.05, .scale_max = 0.14};

static struct config swav_config(void)
{
    struct config config;
    config_init(&config);
    config.augment.flip = 0.5;
    config.augment.jitter = 0.8;
    config.augment.brightness = 0.8;
    config.augment.contrast = 0.8;
    config.augment.saturation = 0.8;
    config.augment.hue = 0.2;
    config.augment.gray = 0.2;
    config.augment.blur = 0.5;
    config.augment.blur_sigma_min = 0.1;
    config.augment.blur_sigma_max = 2.0;
    return config;
}

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance))
        fail_msg("%g is not within %g of %g", value, tolerance, expected);
}

static void a_crop_lies_in_its_image_whatever_its_shape(void **state)
{
    (void)state;
    static const int sides[] = {1, 2, 3, 5, 31, 500, 8000};
    struct random random;
    random_init(&random, 1, RANDOM_STREAM_TEST, 0, 0);
    for (size_t i = 0; i < 7; i++) {
        for (size_t j = 0; j < 7; j++) {
            for (int draw = 0; draw < 200; draw++) {
                struct crop_box box = crop_draw(&random, sides[i], sides[j], 0.05, 1.0);
                assert_true(box.width >= 1 && box.x >= 0 && box.x + box.width <= sides[i]);
                assert_true(box.height >= 1 && box.y >= 0 && box.y + box.height <= sides[j]);
            }
        }
    }
}

/* In a square of 4096 pixels a crop of at most 14 % always fits at the first try, so the area is
 * uniform and the logarithm of the ratio too. */
static void areas_and_ratios_are_uniform(void **state)
{
    (void)state;
    struct random random;
    random_init(&random, 2, RANDOM_STREAM_TEST, 0, 0);
    int area_bins[10] = {0}, ratio_bins[10] = {0}, place_bins[10] = {0};
    for (int draw = 0; draw < DRAWS; draw++) {
        struct crop_box box = crop_draw(&random, 4096, 4096, 0.05, 0.14);
        double area = (double)box.width * box.height / (4096.0 * 4096.0);
        double ratio = log((double)box.width / box.height) / log(4.0 / 3.0);
        double place = (double)box.x / (4096 - box.width + 1);
        assert_true(area > 0.0499 && area < 0.1401);
        assert_true(fabs(ratio) < 1.005);
        area_bins[(int)fmin(9, fmax(0, (area - 0.05) / 0.009))]++;
        ratio_bins[(int)fmin(9, fmax(0, (ratio + 1) * 5))]++;
        place_bins[(int)(place * 10)]++;
    }
    for (int i = 0; i < 10; i++) { /* 5 standard deviations of a binomial of 1/10 */
        double tolerance = 5 * sqrt(DRAWS * 0.09);
        assert_near(area_bins[i], DRAWS / 10.0, tolerance);
        assert_near(ratio_bins[i], DRAWS / 10.0, tolerance);
        assert_near(place_bins[i], DRAWS / 10.0, tolerance);
    }
}

/* torchvision 0.14: RandomResizedCrop.get_params on images where no try fits. */
static void an_image_too_long_for_any_crop_gives_its_middle(void **state)
{
    (void)state;
    struct crop_box box = crop_central(1000, 30);
    assert_int_equal(box.width, 40);
    assert_int_equal(box.height, 30);
    assert_int_equal(box.x, 480);
    assert_int_equal(box.y, 0);
    box = crop_central(30, 1000);
    assert_int_equal(box.width, 30);
    assert_int_equal(box.height, 40);
    assert_int_equal(box.y, 480);
    box = crop_central(31, 33);
    assert_int_equal(box.width, 31);
    assert_int_equal(box.height, 33);
    box = crop_central(3, 1);
    assert_int_equal(box.width, 1);
    assert_int_equal(box.height, 1);
}

static void probabilities_and_strengths_are_those_of_the_config(void **state)
{
    (void)state;
    struct config config = swav_config();
    int flips = 0, jitters = 0, grays = 0, blurs = 0, firsts[AUGMENT_COLORS] = {0};
    double brightness = 0, sigma = 0, shift = 0;
    for (int i = 0; i < DRAWS; i++) {
        struct augment augment = augment_draw(&config, &large, 500, 375, 3, (uint64_t)i, 0);
        flips += augment.is_flipped;
        grays += augment.is_gray;
        blurs += augment.is_blurred;
        sigma += augment.sigma;
        assert_true(augment.sigma >= 0.1f && augment.sigma <= 2.0f);
        if (augment.color_count == 0)
            continue;
        assert_int_equal(augment.color_count, 4);
        jitters++;
        firsts[augment.colors[0]]++;
        brightness += augment.factors[AUGMENT_BRIGHTNESS];
        shift += augment.hue_shift;
        assert_true(abs(augment.hue_shift) <= 51);
        for (int c = 0; c < AUGMENT_HUE; c++)
            assert_true(augment.factors[c] >= 0.2f && augment.factors[c] <= 1.8f);
    }
    double five_sigma = 5 * sqrt(0.25 * DRAWS);
    assert_near(flips, 0.5 * DRAWS, five_sigma);
    assert_near(jitters, 0.8 * DRAWS, five_sigma);
    assert_near(grays, 0.2 * DRAWS, five_sigma);
    assert_near(blurs, 0.5 * DRAWS, five_sigma);
    for (int c = 0; c < AUGMENT_COLORS; c++)
        assert_near(firsts[c], jitters / 4.0, five_sigma);
    assert_near(brightness / jitters, 1.0, 0.02);
    assert_near(shift / jitters, 0.0, 1.5);
    assert_near(sigma / DRAWS, 1.05, 0.02);
}

static void an_operation_without_strength_is_left_out(void **state)
{
    (void)state;
    struct config config = swav_config();
    config.augment.jitter = 1.0;
    config.augment.hue = 0.0;
    config.augment.contrast = 0.0;
    for (uint64_t i = 0; i < 100; i++) {
        struct augment augment = augment_draw(&config, &small, 64, 64, 3, i, 1);
        assert_int_equal(augment.color_count, 2);
        for (int c = 0; c < 2; c++)
            assert_true(augment.colors[c] == AUGMENT_BRIGHTNESS ||
                        augment.colors[c] == AUGMENT_SATURATION);
    }
}

static int same(const struct augment *a, const struct augment *b)
{
    return memcmp(&a->box, &b->box, sizeof(a->box)) == 0 && a->is_flipped == b->is_flipped &&
           a->is_gray == b->is_gray && a->sigma == b->sigma;
}

static void a_draw_depends_on_seed_position_and_crop_alone(void **state)
{
    (void)state;
    struct config config = swav_config();
    struct augment first = augment_draw(&config, &large, 500, 375, 5, 1000, 1);
    struct augment others[] = {
        augment_draw(&config, &large, 500, 375, 6, 1000, 1),
        augment_draw(&config, &large, 500, 375, 5, 1001, 1),
        augment_draw(&config, &large, 500, 375, 5, 1000, 2),
        augment_draw(&config, &large, 500, 375, 5, 1000 + (UINT64_C(1) << 32), 1),
    };
    for (size_t i = 0; i < 4; i++)
        assert_false(same(&first, &others[i]));
    struct augment again = augment_draw(&config, &large, 500, 375, 5, 1000, 1);
    assert_true(same(&first, &again));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_crop_lies_in_its_image_whatever_its_shape),
        cmocka_unit_test(areas_and_ratios_are_uniform),
        cmocka_unit_test(an_image_too_long_for_any_crop_gives_its_middle),
        cmocka_unit_test(probabilities_and_strengths_are_those_of_the_config),
        cmocka_unit_test(an_operation_without_strength_is_left_out),
        cmocka_unit_test(a_draw_depends_on_seed_position_and_crop_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
