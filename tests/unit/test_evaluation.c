/* test_evaluation.c - results of seer eval become rows, events and rows again; new ones are told
 * once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <stdlib.h>

#include "common/fs.h"
#include "common/mem.h"
#include "server/evaluation_watch.h"

static char *directory;
static int told;
static struct evaluation last;

static int begin(void **state)
{
    (void)state;
    char pattern[] = "/tmp/seer-evals-XXXXXX";
    directory = mem_string(mkdtemp(pattern));
    told = 0;
    return 0;
}

static int end(void **state)
{
    (void)state;
    assert_ok(fs_remove_tree(directory));
    mem_free(directory);
    return 0;
}

static void tell(void *context, const struct evaluation *row)
{
    (void)context;
    told++;
    last = *row;
}

static void write_file(const char *name, const char *text)
{
    char *path = mem_format("%s/%s", directory, name), *folder = mem_format("%s/evals", directory);
    assert_ok(fs_make_directory(folder));
    assert_ok(fs_write_file(path, text, strlen(text)));
    mem_free(folder);
    mem_free(path);
}

static int load(const char *text, struct evaluation rows[EVALUATION_ROWS_MAX])
{
    int count = -1;
    write_file("evals/one.json", text);
    char *path = mem_format("%s/evals/one.json", directory);
    const enum status status = evaluation_load(path, rows, &count);
    mem_free(path);
    return status == OK ? count : 0;
}

static void each_score_of_a_result_is_a_row(void **state)
{
    (void)state;
    struct evaluation rows[EVALUATION_ROWS_MAX];
    assert_int_equal(load("{\"evaluation\":\"linear\",\"step\":800,\"top1\":66.5,"
                          "\"best_layer\":\"res5\"}",
                          rows),
                     1);
    assert_string_equal(rows[0].name, "linear");
    assert_string_equal(rows[0].layer, "res5");
    assert_int_equal(rows[0].step, 800);
    assert_true(rows[0].top1 == 66.5 && rows[0].wall_ms > 0);
    assert_int_equal(load("{\"evaluation\":\"lowshot\",\"step\":9,\"subsets\":[{\"percent\":1.0,"
                          "\"top1\":40.0,\"std\":1.5},{\"per_class\":5,\"top1\":50}]}",
                          rows),
                     2);
    assert_string_equal(rows[0].name, "lowshot 1 %");
    assert_true(rows[0].deviation == 1.5);
    assert_string_equal(rows[1].name, "lowshot 5 a class");
    assert_int_equal(rows[1].step, 9);
}

static void what_is_no_result_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "{}",
                                        "null",
                                        "{\"evaluation\":\"knn\"}",
                                        "{\"top1\":50}",
                                        "{\"evaluation\":\"knn\",\"top1\":101}",
                                        "{\"evaluation\":\"knn\",\"top1\":\"50\"}",
                                        "{\"evaluation\":\"x\",\"subsets\":{\"top1\":1}}",
                                        "{\"evaluation\":\"x\",\"subsets\":[1]}"};
    struct evaluation rows[EVALUATION_ROWS_MAX];
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(load(texts[i], rows), 0);
}

static void a_row_goes_through_the_event_log_and_back(void **state)
{
    (void)state;
    const struct evaluation row = {"lowshot 1 %", UINT64_C(1) << 40, 40.25, 1.5, "avgpool", 0};
    struct evaluation back;
    char text[EVALUATION_TEXT_BYTES];
    evaluation_print(&row, text);
    assert_true(evaluation_parse(text, &back));
    assert_string_equal(back.name, row.name);
    assert_string_equal(back.layer, row.layer);
    assert_int_equal(back.step, row.step);
    assert_true(back.top1 == row.top1 && back.deviation == row.deviation);
    assert_false(evaluation_parse("", &back));
    assert_false(evaluation_parse("evaluation=\"x\" step=1", &back));
    assert_false(evaluation_parse("evaluation=\"x\" step=1 top1=-1", &back));
    assert_false(evaluation_parse("step=1 top1=5", &back));
}

static void a_new_file_is_told_once_and_one_of_before_the_last_event_never(void **state)
{
    (void)state;
    static const char text[] = "{\"evaluation\":\"knn\",\"step\":5,\"top1\":40.5}";
    struct evaluation_watch watch;
    evaluation_watch_init(&watch, directory);
    evaluation_watch_look(&watch, directory, tell, NULL); /* there is no folder */
    assert_int_equal(told, 0);
    write_file("evals/a.json", text);
    write_file("evals/notes.txt", text);
    write_file("evals/b.json", "no result");
    evaluation_watch_look(&watch, directory, tell, NULL);
    evaluation_watch_look(&watch, directory, tell, NULL);
    assert_int_equal(told, 1);
    assert_string_equal(last.name, "knn");
    write_file("events.jsonl", "{}\n");
    evaluation_watch_done(&watch);
    evaluation_watch_init(&watch, directory); /* a restart */
    evaluation_watch_look(&watch, directory, tell, NULL);
    assert_int_equal(told, 1);
    write_file("evals/a.json", text); /* done again */
    evaluation_watch_look(&watch, directory, tell, NULL);
    assert_int_equal(told, 2);
    for (int i = 0; i < 50; i++) { /* within one tick of the clock, some of them */
        char name[32];
        snprintf(name, sizeof(name), "evals/more-%d.json", i);
        write_file(name, text);
        evaluation_watch_look(&watch, directory, tell, NULL);
        assert_int_equal(told, 3 + i);
    }
    evaluation_watch_done(&watch);
}

#define IN_DIRECTORY(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(each_score_of_a_result_is_a_row),
        IN_DIRECTORY(what_is_no_result_is_refused),
        IN_DIRECTORY(a_row_goes_through_the_event_log_and_back),
        IN_DIRECTORY(a_new_file_is_told_once_and_one_of_before_the_last_event_never),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
