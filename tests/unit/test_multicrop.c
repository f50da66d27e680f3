/* test_multicrop.c - crops do not depend on how much of an image was decoded, and hardly on how
 * small. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <jpeglib.h>

#include "common/mem.h"
#include "loader/multicrop.h"

enum {
    WIDTH = 400,
    HEIGHT = 300,
    LARGE = 40,
    LARGE_COUNT = 2,
    SMALL = 16,
    SMALL_COUNT = 4,
    POSITIONS = 60,
};

static uint8_t *jpeg_bytes; /* malloc's, by libjpeg */
static unsigned long jpeg_length;

/* Slow waves, and a fine pattern that no decoder may lose. */
static int setup(void **state)
{
    (void)state;
    struct jpeg_compress_struct jpeg = {0};
    struct jpeg_error_mgr error;
    uint8_t row[WIDTH * 3];
    JSAMPROW rows[] = {row};
    jpeg.err = jpeg_std_error(&error);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &jpeg_bytes, &jpeg_length);
    jpeg.image_width = WIDTH;
    jpeg.image_height = HEIGHT;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 90, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < HEIGHT; y++) {
        for (int i = 0; i < WIDTH * 3; i++) {
            int wave = (i / 3 * (i % 3 + 1) / 2 + y) % 400;
            row[i] = (uint8_t)((wave < 200 ? wave : 400 - wave) + 7 * (i / 3 % 5) + 3 * (y % 3));
        }
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(jpeg_bytes);
    return 0;
}

struct crops {
    uint8_t large[LARGE_COUNT][LARGE * LARGE * 3], small[SMALL_COUNT][SMALL * SMALL * 3];
};

static void cut(struct multicrop *multicrop, const struct image *image, uint64_t position,
                struct crops *crops)
{
    const struct multicrop_target targets[] = {{crops->large[0], sizeof(crops->large[0])},
                                               {crops->small[0], sizeof(crops->small[0])}};
    multicrop_image(multicrop, image, position, targets);
}

static struct config crops_config(enum jpeg_decode_mode mode)
{
    struct config config;
    config_init(&config);
    config.crop_count = 2;
    config.crops[0] = (struct config_crop){LARGE_COUNT, LARGE, 0.14, 1.0};
    config.crops[1] = (struct config_crop){SMALL_COUNT, SMALL, 0.05, 0.14};
    config.data.jpeg_decode = mode;
    return config;
}

static void crops_of_a_part_are_those_of_the_whole(void **state)
{
    (void)state;
    struct config config = crops_config(JPEG_DECODE_FULL);
    struct multicrop *multicrop = multicrop_create(&config, 3);
    struct image whole, some;
    static struct crops expected, crops;
    int left_out = 0;
    image_init(&whole);
    image_init(&some);
    assert_ok(image_decode(&whole, jpeg_bytes, jpeg_length, NULL));
    for (uint64_t position = 0; position < POSITIONS; position++) {
        struct image_wish wish = multicrop_wish(multicrop, position);
        assert_ok(image_decode_part(&some, jpeg_bytes, jpeg_length, NULL, &wish));
        cut(multicrop, &some, position, &crops);
        cut(multicrop, &whole, position, &expected);
        assert_memory_equal(&crops, &expected, sizeof(crops));
        assert_int_equal(some.part.shrink, 1);
        left_out += some.height < whole.height && some.width < whole.width;
    }
    assert_true(left_out > POSITIONS / 4);
    image_done(&whole);
    image_done(&some);
    multicrop_destroy(multicrop);
}

/* Without colours drawn at random, which would enlarge what differs. */
static void scaled_decoding_shrinks_what_all_crops_shrink_and_changes_little(void **state)
{
    (void)state;
    struct config config = crops_config(JPEG_DECODE_SCALED);
    config.augment.jitter = config.augment.blur = 0;
    struct multicrop *multicrop = multicrop_create(&config, 3);
    struct image whole, some;
    static struct crops expected, crops;
    int shrunk[9] = {0};
    image_init(&whole);
    image_init(&some);
    assert_ok(image_decode(&whole, jpeg_bytes, jpeg_length, NULL));
    for (uint64_t position = 0; position < POSITIONS; position++) {
        struct image_wish wish = multicrop_wish(multicrop, position);
        assert_ok(image_decode_part(&some, jpeg_bytes, jpeg_length, NULL, &wish));
        cut(multicrop, &some, position, &crops);
        cut(multicrop, &whole, position, &expected);
        const uint8_t *is = crops.large[0], *want = expected.large[0];
        int64_t sum = 0;
        for (size_t i = 0; i < sizeof(crops); i++)
            sum += abs(is[i] - want[i]);
        if (sum > 2 * (int64_t)sizeof(crops))
            fail_msg("position %llu, 1/%d: %.2f levels apart on average",
                     (unsigned long long)position, some.part.shrink,
                     (double)sum / (double)sizeof(crops));
        shrunk[some.part.shrink]++;
    }
    /* A small crop is cut from 67 pixels a side at least and 150 at most. */
    assert_true(shrunk[2] > 0 && shrunk[4] > 0);
    assert_int_equal(shrunk[8], 0);
    image_done(&whole);
    image_done(&some);
    multicrop_destroy(multicrop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crops_of_a_part_are_those_of_the_whole),
        cmocka_unit_test(scaled_decoding_shrinks_what_all_crops_shrink_and_changes_little),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
