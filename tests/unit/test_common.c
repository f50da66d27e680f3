/* test_common.c - the floor that everything stands on: buffers, queues, randomness, options, files.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <math.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/fs.h"
#include "common/json.h"
#include "common/log.h"
#include "common/log_json.h"
#include "common/mem.h"
#include "common/options.h"
#include "common/percentile.h"
#include "common/queue.h"
#include "common/random.h"
#include "common/rate_limit.h"
#include "common/thread.h"

static void buf_refuses_to_grow_past_its_limit_and_keeps_its_contents(void **state)
{
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    assert_int_equal(buf_append(&buf, "12345", 5), OK);
    assert_int_equal(buf_append(&buf, "123456", 6), ERR_INPUT);
    assert_int_equal(buf_format(&buf, "%d", 67890), OK);
    assert_string_equal((char *)buf.bytes, "1234567890");
    assert_int_equal(buf_format(&buf, "x"), ERR_INPUT);
    assert_int_equal(buf.length, 10);
    buf_done(&buf);
}

static void queue_waits_until_its_deadline_and_drains_after_close(void **state)
{
    (void)state;
    struct queue *queue = queue_create(2);
    int a = 1, b = 2, c = 3;
    void *item = &a;
    assert_int_equal(queue_push(queue, &item, -1), OK);
    assert_null(item);
    item = &b;
    assert_int_equal(queue_push(queue, &item, -1), OK);
    item = &c;
    assert_int_equal(queue_push(queue, &item, clock_ms() + 5), ERR_TIMEOUT);
    assert_ptr_equal(item, &c);
    queue_close(queue);
    assert_int_equal(queue_push(queue, &item, -1), ERR_END);
    assert_int_equal(queue_pop(queue, -1, &item), OK);
    assert_ptr_equal(item, &a);
    assert_int_equal(queue_pop(queue, -1, &item), OK);
    assert_ptr_equal(item, &b);
    assert_int_equal(queue_pop(queue, -1, &item), ERR_END);
    queue_destroy(queue, NULL);
}

struct pump {
    struct queue *queue;
    uint64_t sum;
};

static void pump_run(void *argument)
{
    struct pump *pump = argument;
    void *item = NULL;
    while (queue_pop(pump->queue, -1, &item) == OK)
        pump->sum += (uint64_t)(uintptr_t)item;
}

static void queue_hands_every_item_to_exactly_one_thread(void **state)
{
    (void)state;
    enum { ITEMS = 10000 };
    struct pump pumps[3] = {{0}};
    struct thread threads[3] = {{0}};
    struct queue *queue = queue_create(7);
    for (int i = 0; i < 3; i++) {
        pumps[i].queue = queue;
        assert_int_equal(thread_start(&threads[i], "pump", pump_run, &pumps[i]), OK);
    }
    for (uintptr_t i = 1; i <= ITEMS; i++) {
        void *item = (void *)i;
        assert_int_equal(queue_push(queue, &item, -1), OK);
    }
    queue_close(queue);
    uint64_t sum = 0;
    for (int i = 0; i < 3; i++) {
        thread_stop(&threads[i]);
        sum += pumps[i].sum;
    }
    assert_int_equal(sum, (uint64_t)ITEMS * (ITEMS + 1) / 2);
    queue_destroy(queue, NULL);
}

/* Known answers of the authors' Random123 distribution (kat_vectors, philox4x32 10). */
static void philox_gives_the_published_words(void **state)
{
    (void)state;
    uint32_t words[4];
    random_philox((const uint32_t[4]){0}, (const uint32_t[2]){0}, words);
    assert_int_equal(words[0], 0x6627e8d5u);
    assert_int_equal(words[1], 0xe169c58du);
    assert_int_equal(words[2], 0xbc57ac4cu);
    assert_int_equal(words[3], 0x9b00dbd8u);
    const uint32_t ones = 0xffffffffu;
    random_philox((const uint32_t[4]){ones, ones, ones, ones}, (const uint32_t[2]){ones, ones},
                  words);
    assert_int_equal(words[0], 0x408f276du);
    assert_int_equal(words[1], 0x41c83b0eu);
    assert_int_equal(words[2], 0xa20bc7c6u);
    assert_int_equal(words[3], 0x6d5451fdu);
}

static void random_permute_is_a_bijection_that_depends_on_its_key(void **state)
{
    (void)state;
    for (uint64_t size = 1; size < 300; size = size * 3 / 2 + 1) {
        uint8_t *seen = mem_zero(size);
        uint64_t moved = 0;
        for (uint64_t i = 0; i < size; i++) {
            uint64_t to = random_permute(i, size, 7, RANDOM_STREAM_TEST, size);
            assert_true(to < size);
            assert_int_equal(seen[to]++, 0);
            assert_int_equal(random_unpermute(to, size, 7, RANDOM_STREAM_TEST, size), i);
            moved += to != random_permute(i, size, 8, RANDOM_STREAM_TEST, size);
        }
        assert_true(size < 20 || moved > size / 2);
        mem_free(seen);
    }
}

static void random_numbers_have_the_moments_of_their_distributions(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    struct random random;
    random_init(&random, 1, RANDOM_STREAM_TEST, 2, 3);
    double mean = 0, square = 0, normal = 0, normal_square = 0;
    for (int i = 0; i < DRAWS; i++) {
        double u = random_uniform(&random, 0, 1), z = random_normal(&random);
        mean += u / DRAWS;
        square += u * u / DRAWS;
        normal += z / DRAWS;
        normal_square += z * z / DRAWS;
        assert_true(random_below(&random, 5) < 5);
    }
    assert_float_equal(mean, 0.5, 0.004);
    assert_float_equal(square, 1.0 / 3, 0.004);
    assert_float_equal(normal, 0, 0.01);
    assert_float_equal(normal_square, 1, 0.02);
}

static void options_fill_their_targets_and_suggest_the_nearest_name(void **state)
{
    (void)state;
    const char *store = NULL;
    int is_dry = 0;
    int64_t limit = 0;
    struct option_list sets = {0};
    const struct option_row rows[] = {
        {"store", 's', OPTION_STRING, &store, "DIR", "where"},
        {"dry-run", 'd', OPTION_FLAG, &is_dry, NULL, "only look"},
        {"limit", 'n', OPTION_INT, &limit, "N", "at most"},
        {"set", 0, OPTION_LIST, &sets, "K=V", "override"},
        {0},
    };
    const struct usage usage = {
        .program = "seer test", .synopsis = "", .summary = "", .options = rows};
    char *good[] = {"test", "--store", "d",   "a",         "-n", "12", "--set",
                    "x=1",  "--set",   "y=2", "--dry-run", "b",  NULL};
    int first = 0;
    assert_int_equal(options_parse(&usage, 12, good, &first), OK);
    assert_string_equal(store, "d");
    assert_int_equal(limit, 12);
    assert_int_equal(is_dry, 1);
    assert_int_equal(sets.count, 2);
    assert_int_equal(first, 10);
    assert_string_equal(good[10], "a");
    char *typo[] = {"test", "--stroe", "d", NULL};
    assert_int_equal(options_parse(&usage, 3, typo, &first), ERR_INPUT);
    assert_non_null(strstr(fail_message(), "--store"));
    char *word[] = {"test", "--limit", "many", NULL};
    assert_int_equal(options_parse(&usage, 3, word, &first), ERR_INPUT);
    char *letters[] = {"test", "-dx", NULL};
    assert_fails(options_parse(&usage, 2, letters, &first), ERR_INPUT, "'-x'");
    char *value[] = {"test", "--dry-run=1", NULL};
    assert_fails(options_parse(&usage, 2, value, &first), ERR_INPUT, "takes no value");
}

static void options_refuse_words_that_nobody_reads(void **state)
{
    (void)state;
    char *argv[] = {"test", "worker-1", NULL};
    assert_ok(options_check_rest(2, argv, 2));
    assert_fails(options_check_rest(2, argv, 1), ERR_INPUT, "'worker-1'");
    assert_ok(options_check_output(NULL));
    assert_ok(options_check_output("table"));
    assert_ok(options_check_output("json"));
    assert_fails(options_check_output("xml"), ERR_INPUT, "table or json");
    assert_true(options_is_json("json"));
    assert_false(options_is_json("table"));
    assert_false(options_is_json(NULL));
}

static void fs_writes_files_that_are_complete_or_absent(void **state)
{
    (void)state;
    char directory[] = "/tmp/everseer-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    char *nested = mem_format("%s/a/b/c", directory);
    char *path = mem_format("%s/file", nested);
    assert_int_equal(fs_make_directory(nested), OK);
    assert_int_equal(fs_write_file(path, "hello", 5), OK);
    struct buf buf;
    buf_init(&buf, 5);
    assert_int_equal(fs_read_file(path, &buf), OK);
    assert_string_equal((char *)buf.bytes, "hello");
    assert_int_equal(fs_write_file("/proc/none/file", "x", 1), ERR_IO);
    assert_int_equal(fs_remove_tree(directory), OK);
    assert_false(fs_exists(directory));
    assert_int_equal(fs_remove_tree(directory), OK);
    buf_done(&buf);
    mem_free(path);
    mem_free(nested);
}

static void times_are_text_that_sorts_and_never_overruns(void **state)
{
    (void)state;
    char text[CLOCK_TEXT_BYTES];
    clock_text(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    clock_text(951782399007, text);
    assert_string_equal(text, "2000-02-28T23:59:59.007Z");
    clock_text(-1, text);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    clock_stamp(951782400123, text);
    assert_string_equal(text, "20000229T000000.123");
    clock_text(INT64_MAX, text);
    assert_string_equal(text + strlen(text) - 5, ".807Z");
    clock_text(INT64_MIN, text);
    assert_string_equal(text + strlen(text) - 1, "Z");
}

static void json_takes_any_text_and_any_number(void **state)
{
    (void)state;
    json_t *text = json_text("caf\xc3\xa9"), *bytes = json_text("caf\xe9.jpg");
    assert_string_equal(json_string_value(text), "caf\xc3\xa9");
    assert_string_equal(json_string_value(bytes), "caf?.jpg");
    json_decref(text);
    json_decref(bytes);
    json_t *number = json_number(0.5), *nan = json_number(NAN), *infinite = json_number(-INFINITY);
    assert_true(json_real_value(number) == 0.5);
    assert_true(json_is_null(nan));
    assert_true(json_is_null(infinite));
    json_decref(number);
}

static void a_log_line_is_one_line_whatever_is_in_it(void **state)
{
    (void)state;
    char text[512] = "";
    int ends[2], before = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_true(before >= 0 && dup2(ends[1], STDERR_FILENO) >= 0);
    log_error("worker=%s", "w\n2026-01-01 error seer: forged\x1b[2J\x7f");
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
    assert_non_null(strstr(text, "worker=w?2026-01-01 error seer: forged?[2J?\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
    close(before);
    close(ends[0]);
    close(ends[1]);
}

static json_t *line_as_json(const char *text)
{
    char line[512];
    const size_t length =
        log_json("2026-11-29T08:00:00.000Z", "warn", "seer", text, line, sizeof(line));
    assert_int_equal(strlen(line), length);
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    assert_string_equal(json_string_value(json_object_get(object, "level")), "warn");
    return object;
}

static void assert_member(const json_t *object, const char *key, const char *json)
{
    char *text = json_dumps(json_object_get(object, key), JSON_ENCODE_ANY);
    assert_non_null(text);
    assert_string_equal(text, json);
    free(text);
}

static void a_log_line_is_a_json_object_with_a_member_for_each_key(void **state)
{
    (void)state;
    json_t *object =
        line_as_json("event=worker_lost worker=w-1 step=12 loss=-2.5e-3 run=0000000000000012 "
                     "id=1234567890123456 "
                     "at=01 empty= level=forged reason=\"cannot open \"a b\": gone\" and so on");
    assert_member(object, "event", "\"worker_lost\"");
    assert_member(object, "worker", "\"w-1\"");
    assert_member(object, "step", "12");
    assert_member(object, "loss", "-0.0025000000000000001");
    assert_member(object, "run", "\"0000000000000012\"");
    assert_member(object, "id", "\"1234567890123456\"");
    assert_member(object, "at", "\"01\"");
    assert_member(object, "empty", "\"\"");
    json_decref(object);
    object = line_as_json("event=x reason=\"cannot open \"a b\": gone\" and so on");
    assert_member(object, "reason", "\"cannot open \\\"a b\\\": gone\"");
    assert_member(object, "message", "\"and so on\"");
    json_decref(object);
    object = line_as_json("event=x bytes=\xff\xfe end=\"never");
    assert_member(object, "bytes", "\"??\"");
    assert_member(object, "end", "\"never\"");
    json_decref(object);
}

static void what_does_not_fit_into_a_line_leaves_json(void **state)
{
    (void)state;
    char text[1024];
    memset(text, 'a', sizeof(text));
    memcpy(text, "event=long why=", 15);
    text[sizeof(text) - 1] = 0;
    json_t *object = line_as_json(text);
    assert_member(object, "event", "\"long\"");
    assert_null(json_object_get(object, "why"));
    json_decref(object);
}

static void a_flood_of_one_kind_is_cut_and_counted_and_hides_no_other(void **state)
{
    (void)state;
    static struct rate_limit limit = {.burst = 3, .window_ms = 1000};
    uint32_t dropped = 9;
    assert_int_equal(rate_limit_ask(&limit, "event=a x=1", 0, &dropped), RATE_LIMIT_PASS);
    assert_int_equal(rate_limit_ask(&limit, "event=a x=2", 0, &dropped), RATE_LIMIT_PASS);
    assert_int_equal(rate_limit_ask(&limit, "event=a", 999, &dropped), RATE_LIMIT_LAST);
    for (int i = 0; i < 7; i++)
        assert_int_equal(rate_limit_ask(&limit, "event=a x=3", 999, &dropped), RATE_LIMIT_DROP);
    assert_int_equal(rate_limit_ask(&limit, "event=b", 999, &dropped), RATE_LIMIT_PASS);
    assert_int_equal(dropped, 0);
    assert_int_equal(rate_limit_ask(&limit, "event=a x=4", 5000, &dropped), RATE_LIMIT_PASS);
    assert_int_equal(dropped, 7);
    assert_int_equal(rate_limit_ask(&limit, "event=a x=4", 5000, &dropped), RATE_LIMIT_PASS);
    assert_int_equal(dropped, 0);
}

static void kinds_do_not_limit_each_other(void **state)
{
    (void)state;
    static struct rate_limit limit = {.burst = 2, .window_ms = 1000};
    uint32_t dropped;
    for (int i = 0; i < RATE_LIMIT_KINDS; i++) {
        char word[24];
        snprintf(word, sizeof(word), "event=%d", i);
        assert_int_equal(rate_limit_ask(&limit, word, 0, &dropped), RATE_LIMIT_PASS);
        assert_int_equal(rate_limit_ask(&limit, word, 0, &dropped), RATE_LIMIT_LAST);
        assert_int_equal(rate_limit_ask(&limit, word, 0, &dropped), RATE_LIMIT_DROP);
    }
}

static void a_percentile_is_a_value_that_was_measured(void **state)
{
    (void)state;
    int64_t values[] = {70, 10, 40, 30, 20, 90, 60, 80, 100, 50};
    percentile_sort(values, 10);
    assert_int_equal(percentile_of(values, 10, 0), 10);
    assert_int_equal(percentile_of(values, 10, 50), 50);
    assert_int_equal(percentile_of(values, 10, 51), 60);
    assert_int_equal(percentile_of(values, 10, 99), 100);
    assert_int_equal(percentile_of(values, 10, 100), 100);
    assert_int_equal(percentile_of(values, 1, 99), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_refuses_to_grow_past_its_limit_and_keeps_its_contents),
        cmocka_unit_test(queue_waits_until_its_deadline_and_drains_after_close),
        cmocka_unit_test(queue_hands_every_item_to_exactly_one_thread),
        cmocka_unit_test(philox_gives_the_published_words),
        cmocka_unit_test(random_permute_is_a_bijection_that_depends_on_its_key),
        cmocka_unit_test(random_numbers_have_the_moments_of_their_distributions),
        cmocka_unit_test(options_fill_their_targets_and_suggest_the_nearest_name),
        cmocka_unit_test(options_refuse_words_that_nobody_reads),
        cmocka_unit_test(fs_writes_files_that_are_complete_or_absent),
        cmocka_unit_test(times_are_text_that_sorts_and_never_overruns),
        cmocka_unit_test(json_takes_any_text_and_any_number),
        cmocka_unit_test(a_log_line_is_one_line_whatever_is_in_it),
        cmocka_unit_test(a_log_line_is_a_json_object_with_a_member_for_each_key),
        cmocka_unit_test(what_does_not_fit_into_a_line_leaves_json),
        cmocka_unit_test(a_flood_of_one_kind_is_cut_and_counted_and_hides_no_other),
        cmocka_unit_test(kinds_do_not_limit_each_other),
        cmocka_unit_test(a_percentile_is_a_value_that_was_measured),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
