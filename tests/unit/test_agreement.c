/* test_agreement.c - members that computed differently: who is believed, and what is told of it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

static void members_with_different_gradients_commit_nothing(void **state)
{
    struct fixture *f = *state;
    train(f, 3);
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 4, 1);
    vote(f, 3, 0, 3, 1);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STEP), -1);
    assert_true(find(f, ACTION_STOP_HELPERS, 0) >= 0);
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.step, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(members_with_different_gradients_commit_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
