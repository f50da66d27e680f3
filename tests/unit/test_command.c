/* test_command.c - words that choose: commands, verbs, and what a mistyped one is answered. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/command.h"

#include "tests/test.h"

static enum status nothing(const void *request, int count, char **words)
{
    (void)request;
    (void)count;
    (void)words;
    return OK;
}

static const struct verb verbs[] = {
    {"ls", "", 0, 0, nothing, "all"},
    {"save", "[NAME]", 0, 1, nothing, "one"},
    {"drain", "NAME", 1, 1, nothing, "send it home"},
};
static const struct usage usage = {.program = "seer test", .verbs = verbs, .verb_count = 3};

static void a_verb_is_found_with_as_many_words_as_it_takes(void **state)
{
    (void)state;
    const struct verb *verb = NULL;
    char *words[] = {"save", "best", NULL};
    assert_ok(verb_find(&usage, 1, words, &verb));
    assert_ptr_equal(verb, &verbs[1]);
    assert_ok(verb_find(&usage, 2, words, &verb));
    assert_ptr_equal(verb, &verbs[1]);
}

static void a_verb_with_too_few_or_too_many_words_says_which(void **state)
{
    (void)state;
    const struct verb *verb = NULL;
    char *few[] = {"drain", NULL}, *many[] = {"drain", "a", "b", NULL}, *none[] = {"ls", "x", NULL};
    assert_fails(verb_find(&usage, 1, few, &verb), ERR_INPUT, "'drain' needs NAME");
    assert_fails(verb_find(&usage, 3, many, &verb), ERR_INPUT, "no place for 'b'");
    assert_fails(verb_find(&usage, 2, none, &verb), ERR_INPUT, "no place for 'x'");
    assert_null(verb);
}

static void a_mistyped_verb_is_answered_with_the_nearest_or_with_all(void **state)
{
    (void)state;
    const struct verb *verb = NULL;
    char *near[] = {"dran", NULL}, *far[] = {"xyzzyxyzzy", NULL};
    assert_fails(verb_find(&usage, 1, near, &verb), ERR_INPUT, "did you mean 'drain'?");
    assert_fails(verb_find(&usage, 1, far, &verb), ERR_INPUT, "ls, save or drain");
    assert_fails(verb_find(&usage, 0, far, &verb), ERR_INPUT, "missing: ls, save or drain");
}

static int answer_41(int argc, char **argv)
{
    return argc == 2 && strcmp(argv[0], "step") == 0 && strcmp(argv[1], "now") == 0 ? 41 : 1;
}

static void a_command_gets_its_own_words_and_its_exit_code_is_kept(void **state)
{
    (void)state;
    const struct command step = {"step", "a step", answer_41};
    const struct command *const commands[] = {&step};
    const struct command_group group = {"seer bench", "Measures.", commands, 1};
    char *known[] = {"bench", "step", "now", NULL}, *unknown[] = {"bench", "stpe", NULL};
    assert_int_equal(command_run(&group, 3, known), 41);
    assert_int_equal(command_run(&group, 2, unknown), status_exit_code(ERR_INPUT));
    assert_non_null(strstr(fail_message(), "did you mean 'step'?"));
    assert_int_equal(command_run(&group, 1, unknown), status_exit_code(ERR_INPUT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verb_is_found_with_as_many_words_as_it_takes),
        cmocka_unit_test(a_verb_with_too_few_or_too_many_words_says_which),
        cmocka_unit_test(a_mistyped_verb_is_answered_with_the_nearest_or_with_all),
        cmocka_unit_test(a_command_gets_its_own_words_and_its_exit_code_is_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
