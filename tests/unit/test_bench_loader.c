/* test_bench_loader.c - `seer bench loader`: its figures agree with each other, its errors help. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <jansson.h>
#include <png.h>
#include <unistd.h>

#include "loader/bench_loader.h"

static char image_path[] = "/tmp/everseer-bench-XXXXXX";

static int setup(void **state)
{
    (void)state;
    static uint8_t pixels[300 * 200 * 3];
    int file = mkstemp(image_path);
    assert_true(file >= 0);
    close(file);
    for (size_t i = 0; i < sizeof(pixels); i++)
        pixels[i] = (uint8_t)(i / 7 + i % 13);
    png_image image = {
        .version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB, .width = 300, .height = 200};
    assert_true(png_image_write_to_file(&image, image_path, 0, pixels, 0, NULL));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    return unlink(image_path);
}

/* Runs the command with standard output in a file; the caller frees *ret_json. */
static int run_bench(int argc, char **argv, json_t **ret_json)
{
    char path[] = "/tmp/everseer-bench-out-XXXXXX";
    int file = mkstemp(path), screen = dup(STDOUT_FILENO);
    assert_true(file >= 0 && screen >= 0);
    fflush(stdout);
    dup2(file, STDOUT_FILENO);
    int code = bench_loader_command.run(argc, argv);
    fflush(stdout);
    dup2(screen, STDOUT_FILENO);
    *ret_json = json_load_file(path, 0, NULL);
    close(file);
    close(screen);
    unlink(path);
    return code;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value))
        fail_msg("the output lacks the number '%s'", key);
    return json_number_value(value);
}

static void the_stages_add_up_to_the_whole(void **state)
{
    (void)state;
    char *argv[] = {"loader", "--seconds", "0.3", "-o", "json", image_path, NULL};
    json_t *json;
    assert_int_equal(run_bench(6, argv, &json), 0);
    assert_non_null(json);
    assert_int_equal(number(json, "schema_version"), 1);
    assert_int_equal(number(json, "images"), 1);
    assert_int_equal(number(json, "pixels_per_image"), 300 * 200);
    double whole_us = 1e6 / number(json, "images_per_second_per_core");
    const json_t *stages = json_object_get(json, "stage_us_per_image");
    double sum_us = 0;
    static const char *const names[] = {"decode", "resize", "color", "blur", "save"};
    for (size_t i = 0; i < 5; i++) {
        assert_true(number(stages, names[i]) > 0);
        sum_us += number(stages, names[i]);
    }
    /* "decode" is measured apart from the whole, and clocks tick: near, not equal. */
    assert_true(sum_us > 0.4 * whole_us && sum_us < 2.5 * whole_us);
    json_decref(json);
}

static void what_cannot_be_measured_is_an_error_with_its_exit_code(void **state)
{
    (void)state;
    json_t *json;
    char *nothing[] = {"loader", NULL};
    assert_int_equal(run_bench(1, nothing, &json), 2);
    char *absent[] = {"loader", "/nonexistent.jpg", NULL};
    assert_int_equal(run_bench(2, absent, &json), 2);
    char *both[] = {"loader", "--store", "/tmp", image_path, NULL};
    assert_int_equal(run_bench(4, both, &json), 2);
    char *kind[] = {"loader", "-o", "xml", image_path, NULL};
    assert_int_equal(run_bench(4, kind, &json), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_stages_add_up_to_the_whole),
        cmocka_unit_test(what_cannot_be_measured_is_an_error_with_its_exit_code),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
