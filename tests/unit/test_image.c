/* test_image.c - decoding against Pillow, file by file; damage anywhere is refused, never a crash.
 *
 * test_image SCRIPT PYTHON: the script makes the files. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <unistd.h>

#include "common/fs.h"
#include "common/hash.h"
#include "common/mem.h"
#include "common/random.h"
#include "loader/image.h"

enum { FILE_BYTES_MAX = 64 << 20 };

static char folder[] = "/tmp/everseer-image-XXXXXX";

static struct buf read_bytes(const char *name, const char *suffix)
{
    struct buf bytes;
    char *path = mem_format("%s/%s%s", folder, name, suffix);
    buf_init(&bytes, FILE_BYTES_MAX);
    assert_ok(fs_read_file(path, &bytes));
    mem_free(path);
    return bytes;
}

/* Calls visit for each line of the list of cases with a chosen number of words; returns how many.
 */
static int for_each_case(int is_good, void (*visit)(const char *name, const struct buf *bytes,
                                                    const char *words))
{
    char *path = mem_format("%s/cases", folder);
    FILE *cases = fopen(path, "re");
    char line[256], name[128], reason[64];
    int count = 0, width, height, tolerance;
    assert_non_null(cases);
    while (fgets(line, sizeof(line), cases) != NULL) {
        int words = sscanf(line, "%127s %d %d %d", name, &width, &height, &tolerance);
        if ((words == 4) != is_good || sscanf(line, "%*s %63s", reason) != 1)
            continue;
        struct buf bytes = read_bytes(name, "");
        visit(name, &bytes, line + strlen(name) + 1);
        buf_done(&bytes);
        count++;
    }
    fclose(cases);
    mem_free(path);
    return count;
}

static void compare_with_pillow(const char *name, const struct buf *bytes, const char *words)
{
    struct image image;
    int width, height, tolerance, worst = 0;
    assert_int_equal(sscanf(words, "%d %d %d", &width, &height, &tolerance), 3);
    struct buf expected = read_bytes(name, ".rgb");
    image_init(&image);
    enum status status = image_decode(&image, bytes->bytes, bytes->length, NULL);
    if (status != OK || image.width != width || image.height != height)
        fail_msg("%s: %s, %d x %d instead of %d x %d", name, fail_message(), image.width,
                 image.height, width, height);
    for (size_t i = 0; i < expected.length; i++) {
        int difference = abs(image.pixels[i] - expected.bytes[i]);
        worst = difference > worst ? difference : worst;
    }
    if (worst > tolerance)
        fail_msg("%s: differs from Pillow by %d, allowed is %d", name, worst, tolerance);
    image_done(&image);
    buf_done(&expected);
}

static void every_kind_of_file_has_the_pixels_that_pillow_sees(void **state)
{
    (void)state;
    assert_true(for_each_case(1, compare_with_pillow) > 60);
}

static void expect_reason(const char *name, const struct buf *bytes, const char *words)
{
    struct image image;
    image_init(&image);
    if (image_decode(&image, bytes->bytes, bytes->length, NULL) != ERR_CORRUPT)
        fail_msg("%s was not refused", name);
    size_t length = strcspn(words, "\n");
    const char *reason = image_reason_name(image.reason);
    if (strlen(reason) != length || strncmp(reason, words, length) != 0)
        fail_msg("%s: refused as %s (%s), expected %s", name, reason, fail_message(), words);
    /* Nothing is allocated for a size that is refused. */
    assert_true(image.capacity < 1 << 20);
    image_done(&image);
}

static void what_cannot_be_used_is_refused_with_its_reason(void **state)
{
    (void)state;
    assert_true(for_each_case(0, expect_reason) >= 14);
}

static uint64_t hash_of_pixels(const struct image *image)
{
    return hash_bytes(image->pixels, (size_t)image->width * (size_t)image->height * 3);
}

/* Of a GIF the first frame is wanted alone: what is cut off behind it changes no pixel. */
static void cut_everywhere(const char *name, const struct buf *bytes, const char *words)
{
    (void)words;
    struct image image;
    image_init(&image);
    assert_ok(image_decode(&image, bytes->bytes, bytes->length, NULL));
    uint64_t whole = hash_of_pixels(&image);
    int is_gif = memcmp(bytes->bytes, "GIF", 3) == 0;
    for (size_t length = 0; length < bytes->length; length++) {
        /* A copy of exactly that size: reading beyond it is what ASan looks for. */
        uint8_t *cut = mem_alloc(length);
        memcpy(cut, bytes->bytes, length);
        enum status status = image_decode(&image, cut, length, NULL);
        mem_free(cut);
        if (is_gif && status == OK && hash_of_pixels(&image) == whole)
            continue;
        if (status != ERR_CORRUPT)
            fail_msg("%s cut to %zu of %zu bytes was taken for whole", name, length, bytes->length);
    }
    image_done(&image);
}

static void a_file_cut_anywhere_is_refused(void **state)
{
    (void)state;
    for_each_case(1, cut_everywhere);
}

static uint64_t seed = 1;

static void damage_everywhere(const char *name, const struct buf *bytes, const char *words)
{
    (void)words;
    struct image image;
    struct image_limits limits = image_limits_default;
    limits.max_pixels = 1 << 20; /* a damaged size may be large and legal; it only takes time */
    image_init(&image);
    uint8_t *damaged = mem_alloc(bytes->length);
    for (uint32_t trial = 0; trial < 60; trial++) {
        struct random random;
        random_init(&random, seed, RANDOM_STREAM_TEST, hash_bytes(name, strlen(name)), trial);
        memcpy(damaged, bytes->bytes, bytes->length);
        for (uint32_t hits = 1 + random_below(&random, 4); hits > 0; hits--)
            damaged[random_below(&random, (uint32_t)bytes->length)] = (uint8_t)random_u32(&random);
        enum status status = image_decode(&image, damaged, bytes->length, &limits);
        assert_true(status == OK || status == ERR_CORRUPT);
        assert_true((status == OK) == (image.reason == IMAGE_REASON_NONE));
    }
    mem_free(damaged);
    image_done(&image);
}

static void damage_never_crashes_a_decoder(void **state)
{
    (void)state;
    const char *given = getenv("SEER_TEST_SEED");
    seed = given != NULL ? strtoull(given, NULL, 10) : 1;
    printf("seed %llu (SEER_TEST_SEED)\n", (unsigned long long)seed);
    for_each_case(1, damage_everywhere);
}

static void limits_are_kept_and_memory_is_reused(void **state)
{
    (void)state;
    struct image image;
    struct buf bytes = read_bytes("png-rgb.png", "");
    struct image_limits limits = image_limits_default;
    image_init(&image);
    assert_ok(image_decode(&image, bytes.bytes, bytes.length, &limits));
    const uint8_t *pixels = image.pixels;
    assert_ok(image_decode(&image, bytes.bytes, bytes.length, &limits));
    assert_ptr_equal(image.pixels, pixels);
    limits.min_side = 20;
    assert_fails(image_decode(&image, bytes.bytes, bytes.length, &limits), ERR_CORRUPT, "20");
    assert_int_equal(image.reason, IMAGE_REASON_TOO_SMALL);
    limits.min_side = 19;
    limits.max_pixels = 29 * 19 - 1;
    assert_fails(image_decode(&image, bytes.bytes, bytes.length, &limits), ERR_CORRUPT, "29 x 19");
    assert_int_equal(image.reason, IMAGE_REASON_TOO_LARGE);
    image_done(&image);
    buf_done(&bytes);
}

static void a_large_jpeg_is_decoded_smaller(void **state)
{
    (void)state;
    struct image image;
    struct buf bytes = read_bytes("jpeg-0-0.jpg", ""); /* 61 x 43 */
    struct image_limits limits = image_limits_default;
    static const struct {
        int64_t max_pixels;
        int width, height;
    } cases[] = {
        {61 * 43, 61, 43}, {61 * 43 - 1, 31, 22}, {31 * 22 - 1, 16, 11}, {16 * 11 - 1, 8, 6}};
    image_init(&image);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        limits.max_pixels = cases[i].max_pixels;
        assert_ok(image_decode(&image, bytes.bytes, bytes.length, &limits));
        assert_int_equal(image.width, cases[i].width);
        assert_int_equal(image.height, cases[i].height);
        assert_int_equal(image.stored_width, 61);
    }
    limits.max_pixels = 8 * 6 - 1;
    assert_fails(image_decode(&image, bytes.bytes, bytes.length, &limits), ERR_CORRUPT, "61 x 43");
    image_done(&image);
    buf_done(&bytes);
}

/* Pictures of each kind with what decoding them takes, in bytes a pixel (progressive 4:4:4: 2 each
 * for three coefficients, beside the pixels). One byte less is refused before it is allocated. */
static void the_budget_of_a_decode_bounds_all_that_it_takes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t bytes;
    } cases[] = {{"png-rgb.png", 29 * 19 * 3},
                 {"png-rgba.png", 29 * 19 * 3 + 29 * 4},
                 {"png-rgba-interlaced.png", 29 * 19 * 7},
                 {"webp-lossless.jpg", 47 * 31 * 7},
                 {"webp-lossless-alpha.webp", 47 * 31 * 11},
                 {"gif.gif", 33 * 21 * 3 + 33}};
    struct image_limits limits = image_limits_default;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct image image;
        struct buf bytes = read_bytes(cases[i].name, "");
        image_init(&image);
        limits.max_bytes = cases[i].bytes - 1;
        if (image_decode(&image, bytes.bytes, bytes.length, &limits) != ERR_CORRUPT)
            fail_msg("%s was decoded beyond its budget", cases[i].name);
        assert_int_equal(image.reason, IMAGE_REASON_TOO_LARGE);
        assert_int_equal(image.capacity + image.scratch_capacity, 0);
        limits.max_bytes = cases[i].bytes;
        if (image_decode(&image, bytes.bytes, bytes.length, &limits) != OK)
            fail_msg("%s: %s", cases[i].name, fail_message());
        assert_true((int64_t)(image.capacity + image.scratch_capacity) <= cases[i].bytes);
        image_done(&image);
        buf_done(&bytes);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3 || mkdtemp(folder) == NULL)
        return 2;
    char *command = mem_format("%s -c 'import numpy, PIL' 2>/dev/null", argv[2]);
    if (system(command) != 0)
        test_skip("python3 with numpy and Pillow is not there to make the images");
    mem_free(command);
    command = mem_format("%s '%s' %s", argv[2], argv[1], folder);
    int is_made = system(command) == 0;
    mem_free(command);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_file_has_the_pixels_that_pillow_sees),
        cmocka_unit_test(what_cannot_be_used_is_refused_with_its_reason),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(damage_never_crashes_a_decoder),
        cmocka_unit_test(limits_are_kept_and_memory_is_reused),
        cmocka_unit_test(a_large_jpeg_is_decoded_smaller),
        cmocka_unit_test(the_budget_of_a_decode_bounds_all_that_it_takes),
    };
    int failed = is_made ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    fs_remove_tree(folder);
    return failed;
}
