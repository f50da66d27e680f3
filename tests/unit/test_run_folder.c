/* test_run_folder.c - no line twice, none missing, none half. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <jansson.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/mem.h"
#include "server/run_folder.h"

static char *directory;

static int make_directory(void **state)
{
    (void)state;
    char pattern[] = "/tmp/seer-run-XXXXXX";
    directory = mem_string(mkdtemp(pattern));
    return 0;
}

static int remove_directory(void **state)
{
    (void)state;
    assert_ok(fs_remove_tree(directory));
    mem_free(directory);
    return 0;
}

static char *read_text(const char *name)
{
    struct buf text;
    char *path = mem_format("%s/%s", directory, name);
    buf_init(&text, 1 << 20);
    assert_ok(fs_read_file(path, &text));
    char *copy = mem_string(text.bytes == NULL ? "" : (char *)text.bytes);
    buf_done(&text);
    mem_free(path);
    return copy;
}

static void write_step(struct run_folder *folder, uint32_t lineage, uint64_t step)
{
    struct journal_step record = {
        .step = step, .lineage = lineage, .loss = 0.5, .step_ms = 20, .is_commit = 1};
    run_folder_step(folder, &record);
}

static void a_restart_adds_only_the_lines_that_are_missing(void **state)
{
    (void)state;
    struct run_folder *folder;
    assert_ok(run_folder_open(directory, &folder));
    for (uint64_t step = 0; step < 3; step++)
        write_step(folder, 0, step);
    run_folder_close(folder);
    char *path = mem_format("%s/metrics.jsonl", directory);
    FILE *file = fopen(path, "a");
    fputs("{\"step\": 3, \"line", file); /* a crash in the middle of a line */
    fclose(file);
    mem_free(path);
    assert_ok(run_folder_open(directory, &folder));
    for (uint64_t step = 0; step < 5; step++) /* the journal, replayed */
        write_step(folder, 0, step);
    write_step(folder, 1, 2); /* rolled back */
    write_step(folder, 0, 4); /* of the past */
    run_folder_close(folder);
    char *text = read_text("metrics.jsonl"), *rest = text;
    static const int steps[] = {0, 1, 2, 3, 4, 2};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        json_t *line = json_loads(strsep(&rest, "\n"), 0, NULL);
        assert_non_null(line);
        assert_int_equal(json_integer_value(json_object_get(line, "step")), steps[i]);
        json_decref(line);
    }
    assert_string_equal(rest, "");
    mem_free(text);
}

/* The files of this process may not grow beyond it; writes across it are cut short. */
static void limit_files(rlim_t bytes)
{
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_disk_that_was_full_leaves_neither_a_gap_nor_half_a_line(void **state)
{
    (void)state;
    enum { STEPS = 9, ROOM = 650 /* for some lines and a part of one */ };
    struct run_folder *folder;
    assert_ok(run_folder_open(directory, &folder));
    limit_files(ROOM);
    for (uint64_t step = 0; step < STEPS - 1; step++)
        write_step(folder, 0, step);
    char *full = read_text("metrics.jsonl");
    limit_files(RLIM_INFINITY);
    write_step(folder, 0, STEPS - 1);
    run_folder_close(folder);
    assert_true(strlen(full) > ROOM / 2 && full[strlen(full) - 1] == '\n');
    char *text = read_text("metrics.jsonl"), *rest = text;
    for (int step = 0; step < STEPS; step++) {
        json_t *line = json_loads(strsep(&rest, "\n"), 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(line, "step")), step);
        json_decref(line);
    }
    assert_string_equal(rest, "");
    mem_free(text);
    mem_free(full);
}

static void a_loss_that_is_not_finite_is_null(void **state)
{
    (void)state;
    struct run_folder *folder;
    struct journal_step record = {.loss = 0.0 / 0.0};
    assert_ok(run_folder_open(directory, &folder));
    run_folder_step(folder, &record);
    run_folder_close(folder);
    char *text = read_text("metrics.jsonl");
    assert_non_null(strstr(text, "\"loss\":null"));
    mem_free(text);
}

static void events_are_numbered_on_and_hold_any_bytes(void **state)
{
    (void)state;
    struct run_folder *folder;
    assert_ok(run_folder_open(directory, &folder));
    run_folder_event(folder, "shard_added", 0, "path=\"/a\nb\"");
    run_folder_close(folder);
    assert_ok(run_folder_open(directory, &folder));
    run_folder_event(folder, "shard_refused", 1, "path=\xff\xfe");
    run_folder_close(folder);
    char *text = read_text("events.jsonl"), *rest = text;
    json_t *first = json_loads(strsep(&rest, "\n"), 0, NULL);
    json_t *second = json_loads(strsep(&rest, "\n"), 0, NULL);
    assert_string_equal(json_string_value(json_object_get(first, "text")), "path=\"/a\nb\"");
    assert_int_equal(json_integer_value(json_object_get(second, "number")), 2);
    assert_string_equal(json_string_value(json_object_get(second, "text")), "path=??");
    json_decref(first);
    json_decref(second);
    mem_free(text);
}

static void figures_of_learning_have_a_line_each(void **state)
{
    (void)state;
    struct run_folder *folder;
    assert_ok(run_folder_open(directory, &folder));
    run_folder_learning(folder, 2, &(struct message_learning){.step = 25, .prototypes_used = 7});
    run_folder_close(folder);
    assert_ok(run_folder_open(directory, &folder));
    run_folder_learning(folder, 2, &(struct message_learning){.step = 50, .prototypes_used = 8});
    run_folder_close(folder);
    char *text = read_text("learning.jsonl"), *rest = text;
    for (int i = 0; i < 2; i++) {
        json_t *line = json_loads(strsep(&rest, "\n"), 0, NULL);
        assert_int_equal(json_integer_value(json_object_get(line, "step")), 25 * (i + 1));
        assert_int_equal(json_integer_value(json_object_get(line, "prototypes_used")), 7 + i);
        assert_int_equal(json_integer_value(json_object_get(line, "lineage")), 2);
        json_decref(line);
    }
    mem_free(text);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, make_directory, remove_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(a_restart_adds_only_the_lines_that_are_missing),
        IN_DIRECTORY(a_disk_that_was_full_leaves_neither_a_gap_nor_half_a_line),
        IN_DIRECTORY(a_loss_that_is_not_finite_is_null),
        IN_DIRECTORY(events_are_numbered_on_and_hold_any_bytes),
        IN_DIRECTORY(figures_of_learning_have_a_line_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
