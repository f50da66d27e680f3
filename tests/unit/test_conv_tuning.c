/* test_conv_tuning.c - which engine wins, and the file that remembers it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <unistd.h>

#include "common/fs.h"
#include "common/mem.h"
#include "worker/device/cuda/conv_tuning.h"

static const struct conv_shape shape = {.rows = 96,
                                        .height = 57,
                                        .width = 56,
                                        .in_channels = 64,
                                        .out_channels = 128,
                                        .kernel = 3,
                                        .stride = 2,
                                        .groups = 8};

static void a_key_tells_everything_that_differs(void **state)
{
    (void)state;
    char key[CONV_KEY_BYTES], longest[CONV_KEY_BYTES + 1] = {0};
    conv_key(&shape, "forward", "bf16", key);
    assert_string_equal(
        key, "forward bf16 rows=96 size=57x56 channels=64->128 kernel=3 stride=2 groups=8");
    const struct conv_shape large = {1 << 17, 1 << 14, 1 << 14, 1 << 17, 1 << 17, 3, 2, 1 << 17, 1};
    conv_key(&large, "backward_weights", "bf16", longest);
    assert_string_equal(longest + strlen(longest) - strlen("groups=131072"), "groups=131072");
    /* 2 * rows * 29x28 * out * in/groups * taps */
    assert_true(conv_operations(&shape) == 2.0 * 96 * 29 * 28 * 128 * 8 * 9);
}

static void add(struct conv_contest *contest, int rank, int64_t time_ns)
{
    const struct conv_choice choice = {.rank = rank, .engine = 100 + rank, .time_ns = time_ns};
    conv_contest_add(contest, &choice, 4 * time_ns);
}

static void the_clearly_fastest_wins(void **state)
{
    (void)state;
    struct conv_contest contest = {0};
    add(&contest, 0, 100000);
    add(&contest, 1, 98000); /* noise */
    assert_int_equal(contest.best.rank, 0);
    add(&contest, 3, 90000);
    add(&contest, 4, 300000);
    assert_int_equal(contest.best.rank, 3);
    assert_int_equal(contest.best.engine, 103);
    assert_int_equal(contest.count, 4);
    assert_int_equal(contest.spent_ns, 4 * 588000);
}

static void a_contest_ends_in_time(void **state)
{
    (void)state;
    const int64_t plenty = (int64_t)1 << 40;
    struct conv_contest many = {0}, slow = {0}, last = {0};
    while (conv_contest_goes_on(&many, plenty))
        add(&many, many.count, 1000);
    assert_int_equal(many.count, CONV_CANDIDATES);
    while (conv_contest_goes_on(&slow, plenty))
        add(&slow, slow.count, 20000000);
    assert_int_equal(slow.count, 2);
    assert_false(conv_contest_goes_on(&last, 0));
    add(&last, 0, 1000);
    assert_false(conv_contest_goes_on(&last, 4000));
    assert_true(conv_contest_goes_on(&last, 4001));
}

static void check_kept(const struct conv_cache *cache, const char *key, int rank, int64_t time_ns)
{
    const struct conv_choice *kept = conv_cache_find(cache, key);
    assert_non_null(kept);
    assert_int_equal(kept->rank, rank);
    assert_int_equal(kept->engine, 100 + rank);
    assert_int_equal(kept->time_ns, time_ns);
}

static void keep(struct conv_cache *cache, const char *key, int rank, int64_t time_ns)
{
    const struct conv_choice choice = {.rank = rank, .engine = 100 + rank, .time_ns = time_ns};
    assert_ok(conv_cache_keep(cache, key, &choice));
}

static void the_file_remembers_the_last_word_of_each(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_conv_tuning_XXXXXX", key[32];
    struct conv_cache cache, again, other;
    assert_non_null(mkdtemp(folder));
    assert_ok(conv_cache_open(&cache, folder, "cudnn 91900", "NVIDIA H200/1"));
    assert_null(conv_cache_find(&cache, "a"));
    keep(&cache, "a", 3, 1000);
    assert_ok(conv_cache_open(&again, folder, "cudnn 91900", "NVIDIA H200/1"));
    check_kept(&again, "a", 3, 1000);
    for (int i = 0; i < 200; i++) { /* two workers of a host at once */
        snprintf(key, sizeof(key), "key %d", i);
        keep(i % 2 == 0 ? &cache : &again, key, i % 8, 5000 + i);
    }
    keep(&cache, "a", 5, 900);
    check_kept(&cache, "a", 5, 900);
    conv_cache_close(&again);
    assert_ok(conv_cache_open(&again, folder, "cudnn 91900", "NVIDIA H200/1"));
    assert_int_equal(again.count, 201);
    check_kept(&again, "a", 5, 900);
    check_kept(&again, "key 199", 7, 5199);
    assert_ok(conv_cache_open(&other, folder, "cudnn 91900", "NVIDIA A100"));
    assert_int_equal(other.count, 0);
    assert_string_not_equal(other.path, cache.path);
    conv_cache_close(&other);
    conv_cache_close(&again);
    conv_cache_close(&cache);
    assert_ok(fs_remove_tree(folder));
}

static void damage_costs_its_lines_alone(void **state)
{
    (void)state;
    static const char text[] = "everseer convolutions 1, lib, gpu\n"
                               "good\t1 101 500\n"
                               "no tab 1 2 3\n"
                               "\t1 2 3\n"
                               "words\tone two three\n"
                               "two\t1 101\n"
                               "more\t1 101 500 7\n"
                               "negative\t-1 101 500\n"
                               "zero\t1 101 0\n"
                               "last\t2 102 700\n"
                               "torn\t3 103 9";
    struct conv_cache cache = {.header = "everseer convolutions 1, lib, gpu\n"};
    size_t bad = 0;
    assert_ok(conv_cache_parse(&cache, text, sizeof(text) - 1, &bad));
    assert_int_equal(bad, 8);
    assert_int_equal(cache.count, 2);
    check_kept(&cache, "good", 1, 500);
    check_kept(&cache, "last", 2, 700);
    conv_cache_close(&cache);

    struct conv_cache newer = {.header = "everseer convolutions 1, lib 2, gpu\n"};
    assert_fails(conv_cache_parse(&newer, text, sizeof(text) - 1, &bad), ERR_STALE, "lib 2");
    assert_fails(conv_cache_parse(&newer, "", 0, &bad), ERR_STALE, "does not begin");
    assert_int_equal(newer.count, 0);
}

static void without_a_folder_it_works_in_memory(void **state)
{
    (void)state;
    struct conv_cache cache;
    char folder[] = "/tmp/test_conv_tuning_XXXXXX";
    assert_non_null(mkdtemp(folder));
    assert_fails(conv_cache_open(&cache, "not/absolute", "lib", "gpu"), ERR_IO, "tuning_folder");
    keep(&cache, "a", 1, 10);
    check_kept(&cache, "a", 1, 10);
    conv_cache_close(&cache);

    assert_int_equal(setenv("XDG_CACHE_HOME", folder, 1), 0);
    assert_ok(conv_cache_open(&cache, "", "lib", "gpu"));
    assert_int_equal(strncmp(cache.path, folder, strlen(folder)), 0);
    assert_non_null(strstr(cache.path, "/everseer/convolutions-lib-gpu"));
    assert_int_equal(unlink(cache.path), 0);
    const struct conv_choice choice = {.rank = 1, .engine = 101, .time_ns = 10};
    assert_fails(conv_cache_keep(&cache, "a", &choice), ERR_IO, cache.path);
    check_kept(&cache, "a", 1, 10);
    conv_cache_close(&cache);
    assert_ok(fs_remove_tree(folder));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_tells_everything_that_differs),
        cmocka_unit_test(the_clearly_fastest_wins),
        cmocka_unit_test(a_contest_ends_in_time),
        cmocka_unit_test(the_file_remembers_the_last_word_of_each),
        cmocka_unit_test(damage_costs_its_lines_alone),
        cmocka_unit_test(without_a_folder_it_works_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
