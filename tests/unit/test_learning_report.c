/* test_learning_report.c - one worker's figures speak for the run, each step's once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "server/learning_report.h"

static struct worker workers[3];
static struct roster roster = {.workers = workers, .count = 3};
static struct coordinator_view view;
static struct learning_report report;

static int begin(void **state)
{
    (void)state;
    report = (struct learning_report){0};
    view = (struct coordinator_view){.roster = &roster, .step = 100};
    for (int i = 0; i < 3; i++)
        workers[i] = (struct worker){.rank = i};
    return 0;
}

static void say(int i, uint64_t step, uint64_t assignments, uint32_t used)
{
    workers[i].heartbeat.has_learning = 1;
    workers[i].heartbeat.learning = (struct message_learning){
        .step = step, .assignments = assignments, .prototypes_used = used};
}

static void nobody_has_said_anything_yet(void **state)
{
    (void)state;
    assert_false(learning_report_look(&report, &view));
    assert_false(report.has_figures);
}

static void the_newest_step_counts_and_of_it_who_has_seen_most(void **state)
{
    (void)state;
    say(0, 25, 900, 1), say(1, 50, 64, 2), say(2, 50, 128, 3);
    assert_true(learning_report_look(&report, &view));
    assert_int_equal(report.figures.prototypes_used, 3);
    say(1, 50, 128, 2);
    assert_false(learning_report_look(&report, &view));
    assert_int_equal(report.figures.prototypes_used, 3);
    say(0, 75, 1, 4);
    assert_true(learning_report_look(&report, &view));
    assert_int_equal(report.figures.prototypes_used, 4);
}

static void who_computes_no_steps_does_not_speak(void **state)
{
    (void)state;
    workers[0].rank = -1;
    say(0, 75, 900, 1);
    assert_false(learning_report_look(&report, &view));
}

static void what_a_rollback_voids_is_not_told_again(void **state)
{
    (void)state;
    say(0, 75, 10, 1);
    assert_true(learning_report_look(&report, &view));
    view.step = 50;
    view.lineage = 1;
    assert_false(learning_report_look(&report, &view));
    say(0, 50, 10, 2);
    assert_true(learning_report_look(&report, &view));
    assert_int_equal(report.figures.step, 50);
}

static void figures_travel_as_json_and_unknown_ones_are_not_in_it(void **state)
{
    (void)state;
    const struct message_learning sent = {
        UINT64_C(1) << 40, 3000, 2871, 30000, 0.75, 0.125, 128, 0, 0.5, 512, 1.0 / 64, 0.25};
    struct message_learning received;
    json_t *object = learning_report_json(&sent);
    assert_null(json_object_get(object, "embedding_rank"));
    assert_int_equal(json_integer_value(json_object_get(object, "prototypes_used")), 2871);
    learning_report_read(object, &received);
    assert_memory_equal(&sent, &received, sizeof(sent));
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(nobody_has_said_anything_yet, begin),
        cmocka_unit_test_setup(the_newest_step_counts_and_of_it_who_has_seen_most, begin),
        cmocka_unit_test_setup(who_computes_no_steps_does_not_speak, begin),
        cmocka_unit_test_setup(what_a_rollback_voids_is_not_told_again, begin),
        cmocka_unit_test_setup(figures_travel_as_json_and_unknown_ones_are_not_in_it, begin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
