/* test_image_part.c - a part of a JPEG has the pixels of the whole; a shrunk one lies where it is
 * said to. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jpeglib.h>

#include "common/mem.h"
#include "common/random.h"
#include "loader/image.h"

/* Several blocks of the coarsest subsampling, and odd. */
enum { WIDTH = 213, HEIGHT = 149, PARTS = 40 };

static struct random numbers;

struct shape {
    int components, h, v; /* of the first component; the others have 1 */
    int is_progressive, orientation;
    int is_smooth;
};

struct file {
    uint8_t *bytes; /* malloc's, by libjpeg */
    unsigned long length;
};

/* Waves with grain, which no two neighbouring pixels share; or, smooth, ramps of a level a pixel:
 * along x, along y, along both. */
static uint8_t sample(const struct shape *shape, int x, int y, int c)
{
    const int ramps[] = {20 + x, 30 + y, 20 + (x + y) / 2, 255};
    if (shape->is_smooth)
        return (uint8_t)ramps[c];
    int wave = (x * (c + 1) / 2 + y * (3 - c)) % 510;
    wave = wave < 255 ? wave : 510 - wave;
    int value = wave + (int)random_below(&numbers, 61) - 30;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void write_orientation(struct jpeg_compress_struct *jpeg, int orientation)
{
    uint8_t exif[] = {'E', 'x',  'i', 'f', 0, 0, 'M', 'M', 0, '*', 0, 0, 0, 8, 0, 1,
                      1,   0x12, 0,   3,   0, 0, 0,   1,   0, 0,   0, 0, 0, 0, 0, 0};
    exif[25] = (uint8_t)orientation;
    jpeg_write_marker(jpeg, JPEG_APP0 + 1, exif, sizeof(exif));
}

static struct file make(const struct shape *shape)
{
    struct file file = {0};
    struct jpeg_compress_struct jpeg = {0};
    struct jpeg_error_mgr error;
    uint8_t row[WIDTH * 4];
    JSAMPROW rows[] = {row};
    static const J_COLOR_SPACE spaces[] = {0, JCS_GRAYSCALE, 0, JCS_RGB, JCS_CMYK};
    jpeg.err = jpeg_std_error(&error);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &file.bytes, &file.length);
    jpeg.image_width = WIDTH;
    jpeg.image_height = HEIGHT;
    jpeg.input_components = shape->components;
    jpeg.in_color_space = spaces[shape->components];
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 90, TRUE);
    jpeg.comp_info[0].h_samp_factor = shape->h;
    jpeg.comp_info[0].v_samp_factor = shape->v;
    if (shape->is_progressive)
        jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    write_orientation(&jpeg, shape->orientation);
    for (int y = 0; y < HEIGHT; y++) {
        for (int i = 0; i < WIDTH * shape->components; i++)
            row[i] = sample(shape, i / shape->components, y, i % shape->components);
        jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return file;
}

static struct image_part part_of(void *context, int32_t width, int32_t height)
{
    const struct image_part *part = context;
    assert_true(part->x + part->width <= width && part->y + part->height <= height);
    return *part;
}

static struct image_part random_part(int width, int height, int shrink)
{
    struct image_part part = {.shrink = shrink};
    part.width = 1 + (int)random_below(&numbers, (uint32_t)width);
    part.height = 1 + (int)random_below(&numbers, (uint32_t)height);
    part.x = (int)random_below(&numbers, (uint32_t)(width - part.width + 1));
    part.y = (int)random_below(&numbers, (uint32_t)(height - part.height + 1));
    return part;
}

static void decode_part(struct image *image, const struct file *file, struct image_part *part)
{
    const struct image_wish wish = {.part_of = part_of, .context = part};
    assert_ok(image_decode_part(image, file->bytes, file->length, NULL, &wish));
    const struct image_part *shown = &image->part;
    assert_int_equal(shown->shrink, part->shrink);
    assert_int_equal(shown->width, image->width * part->shrink);
    assert_int_equal(shown->height, image->height * part->shrink);
    assert_true(shown->x <= part->x && shown->y <= part->y);
    assert_true(shown->x + shown->width >= part->x + part->width);
    assert_true(shown->y + shown->height >= part->y + part->height);
}

/* Calls visit for every kind of JPEG that libjpeg writes of 8 bits. */
static void for_each_shape(int is_smooth, void (*visit)(const struct shape *shape))
{
    static const struct shape shapes[] = {
        {3, 1, 1, 0, 1, 0}, {3, 2, 1, 0, 1, 0}, {3, 1, 2, 0, 1, 0}, {3, 2, 2, 0, 1, 0},
        {3, 4, 1, 0, 1, 0}, {3, 4, 2, 0, 1, 0}, {3, 1, 4, 0, 1, 0}, {3, 2, 2, 1, 1, 0},
        {1, 1, 1, 0, 1, 0}, {1, 2, 2, 0, 1, 0}, {4, 1, 1, 0, 1, 0}, {4, 2, 2, 0, 6, 0},
        {3, 2, 2, 0, 2, 0}, {3, 2, 2, 0, 3, 0}, {3, 2, 2, 0, 4, 0}, {3, 2, 2, 0, 5, 0},
        {3, 2, 1, 0, 6, 0}, {3, 2, 2, 0, 7, 0}, {3, 1, 2, 0, 8, 0}, {3, 2, 2, 1, 8, 0},
    };
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct shape shape = shapes[i];
        shape.is_smooth = is_smooth;
        visit(&shape);
    }
}

static void compare_parts(const struct shape *shape)
{
    struct file file = make(shape);
    struct image whole, some;
    image_init(&whole);
    image_init(&some);
    assert_ok(image_decode(&whole, file.bytes, file.length, NULL));
    for (int i = 0; i < PARTS; i++) {
        struct image_part part = random_part(whole.width, whole.height, 1);
        decode_part(&some, &file, &part);
        assert_int_equal(some.whole_width, whole.width);
        assert_int_equal(some.whole_height, whole.height);
        for (int y = part.y; y < part.y + part.height; y++) {
            const uint8_t *is = some.pixels + ((size_t)(y - some.part.y) * (size_t)some.width +
                                               (size_t)(part.x - some.part.x)) *
                                                  3;
            const uint8_t *want =
                whole.pixels + ((size_t)y * (size_t)whole.width + (size_t)part.x) * 3;
            if (memcmp(is, want, (size_t)part.width * 3) != 0)
                fail_msg("%d components, %dx%d, orientation %d: row %d of %d,%d %dx%d",
                         shape->components, shape->h, shape->v, shape->orientation, y, part.x,
                         part.y, part.width, part.height);
        }
    }
    image_done(&whole);
    image_done(&some);
    free(file.bytes);
}

static void a_part_has_the_pixels_of_the_whole(void **state)
{
    (void)state;
    for_each_shape(0, compare_parts);
}

/* Mean of the pixels of `whole` that (x, y) of `some` stands for, as far as there are any. */
static double mean_at(const struct image *whole, const struct image *some, int x, int y, int c)
{
    int shrink = some->part.shrink, sum = 0, count = 0;
    for (int i = 0; i < shrink * shrink; i++) {
        int at_x = some->part.x + x * shrink + i % shrink;
        int at_y = some->part.y + y * shrink + i / shrink;
        if (at_x < 0 || at_x >= whole->width || at_y < 0 || at_y >= whole->height)
            continue;
        sum += whole->pixels[(at_y * whole->width + at_x) * 3 + c];
        count++;
    }
    assert_true(count > 0);
    return (double)sum / count;
}

/* What lies a pixel off is a level off. */
static void compare_shrunk(const struct shape *shape)
{
    struct file file = make(shape);
    struct image whole, some;
    image_init(&whole);
    image_init(&some);
    assert_ok(image_decode(&whole, file.bytes, file.length, NULL));
    for (int shrink = 2; shrink <= 8; shrink *= 2) {
        double sums[3] = {0}, count = 0;
        for (int i = 0; i < PARTS / 4; i++) {
            struct image_part part = random_part(whole.width, whole.height, shrink);
            decode_part(&some, &file, &part);
            for (int j = 0; j < some.width * some.height * 3; j++) {
                int x = j / 3 % some.width, y = j / 3 / some.width;
                sums[j % 3] += some.pixels[j] - mean_at(&whole, &some, x, y, j % 3);
            }
            count += some.width * some.height;
        }
        for (int c = 0; c < 3; c++)
            if (fabs(sums[c] / count) > 0.5)
                fail_msg("%d components, %dx%d, orientation %d, 1/%d: channel %d %.2f levels off",
                         shape->components, shape->h, shape->v, shape->orientation, shrink, c,
                         sums[c] / count);
    }
    image_done(&whole);
    image_done(&some);
    free(file.bytes);
}

static void a_shrunk_part_lies_where_it_is_said_to(void **state)
{
    (void)state;
    for_each_shape(1, compare_shrunk);
}

static void what_is_behind_the_part_is_not_looked_at(void **state)
{
    (void)state;
    const struct shape shape = {3, 2, 2, 0, 1, 0};
    struct file file = make(&shape);
    struct image image;
    image_init(&image);
    file.length = file.length * 3 / 4;
    struct image_part upper = {.width = WIDTH, .height = HEIGHT / 2, .shrink = 1};
    decode_part(&image, &file, &upper);
    struct image_part lower = {.y = HEIGHT - 9, .width = 9, .height = 9, .shrink = 1};
    const struct image_wish wish = {.part_of = part_of, .context = &lower};
    assert_fails(image_decode_part(&image, file.bytes, file.length, NULL, &wish), ERR_CORRUPT,
                 "JPEG");
    assert_int_equal(image.reason, IMAGE_REASON_TRUNCATED);
    image_done(&image);
    free(file.bytes);
}

static void a_jpeg_over_the_limits_is_shrunk_no_further_than_libjpeg_can(void **state)
{
    (void)state;
    const struct shape shape = {3, 2, 2, 0, 1, 0};
    struct file file = make(&shape);
    struct image image;
    image_init(&image);
    struct image_limits limits = image_limits_default;
    limits.max_pixels = (WIDTH / 2 + 1) * (HEIGHT / 2 + 1);
    struct image_part part = {.x = 5, .y = 7, .width = 40, .height = 30, .shrink = 8};
    const struct image_wish wish = {.part_of = part_of, .context = &part};
    assert_ok(image_decode_part(&image, file.bytes, file.length, &limits, &wish));
    assert_int_equal(image.whole_width, WIDTH / 2 + 1);
    assert_int_equal(image.part.shrink, 4);
    assert_int_equal(image.stored_width, WIDTH);
    image_done(&image);
    free(file.bytes);
}

/* Never comes back from the second decode, which needs memory beside the pixels. */
static void decode_without_memory(const struct file *file)
{
    const struct rlimit limit = {.rlim_cur = 4096, .rlim_max = 4096};
    struct image image;
    image_init(&image);
    assert_ok(image_decode(&image, file->bytes, file->length, NULL)); /* there is room for pixels */
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        _exit(77);
    for (size_t bytes = 1 << 20; bytes >= 1024; bytes /= 2)
        while (malloc(bytes) != NULL)
            continue;
    image_decode(&image, file->bytes, file->length, NULL);
    _exit(0);
}

static void a_host_without_memory_is_no_damaged_picture(void **state)
{
    (void)state;
    int ended = 0;
    struct file file = make(&(struct shape){.components = 3, .h = 1, .v = 1, .is_progressive = 1});
    pid_t pid = fork();
    if (pid == 0)
        decode_without_memory(&file);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &ended, 0), pid);
    free(file.bytes);
    if (WIFEXITED(ended) && WEXITSTATUS(ended) == 77)
        skip();
    assert_false(WIFEXITED(ended) && WEXITSTATUS(ended) == 0); /* it was not called too large */
}

int main(void)
{
    random_init(&numbers, 1, RANDOM_STREAM_TEST, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_part_has_the_pixels_of_the_whole),
        cmocka_unit_test(a_shrunk_part_lies_where_it_is_said_to),
        cmocka_unit_test(what_is_behind_the_part_is_not_looked_at),
        cmocka_unit_test(a_jpeg_over_the_limits_is_shrunk_no_further_than_libjpeg_can),
        cmocka_unit_test(a_host_without_memory_is_no_damaged_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
