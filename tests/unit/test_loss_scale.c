/* test_loss_scale.c - the scale falls with skips and comes back with commits. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "worker/loss_scale.h"

static void commit(struct loss_scale *scale, int count)
{
    for (int i = 0; i < count; i++)
        loss_scale_commit(scale);
}

static void a_skip_halves_and_many_commits_double(void **state)
{
    (void)state;
    struct loss_scale scale = {0};
    assert_true(loss_scale_value(&scale, 1024) == 1024);
    loss_scale_skip(&scale, 1024);
    loss_scale_skip(&scale, 1024);
    assert_true(loss_scale_value(&scale, 1024) == 256);
    commit(&scale, LOSS_SCALE_GROWTH - 1);
    assert_true(loss_scale_value(&scale, 1024) == 256);
    commit(&scale, 1);
    assert_true(loss_scale_value(&scale, 1024) == 512);
    commit(&scale, LOSS_SCALE_GROWTH);
    assert_true(loss_scale_value(&scale, 1024) == 1024);
}

static void a_skip_starts_the_count_anew(void **state)
{
    (void)state;
    struct loss_scale scale = {0};
    loss_scale_skip(&scale, 1024);
    commit(&scale, LOSS_SCALE_GROWTH - 1);
    loss_scale_skip(&scale, 1024);
    commit(&scale, LOSS_SCALE_GROWTH - 1);
    assert_true(loss_scale_value(&scale, 1024) == 256);
    commit(&scale, 1);
    assert_true(loss_scale_value(&scale, 1024) == 512);
}

static void it_stays_between_one_and_the_largest(void **state)
{
    (void)state;
    struct loss_scale scale = {0};
    commit(&scale, 3 * LOSS_SCALE_GROWTH);
    assert_int_equal(scale.committed, 0);
    assert_true(loss_scale_value(&scale, 65536) == 65536);
    for (int i = 0; i < 100; i++)
        loss_scale_skip(&scale, 65536);
    assert_true(loss_scale_value(&scale, 65536) == 1);
    assert_int_equal(scale.halvings, LOSS_SCALE_HALVINGS_MAX);
    commit(&scale, LOSS_SCALE_GROWTH);
    assert_true(loss_scale_value(&scale, 65536) == 2);
}

static void a_run_without_a_scale_never_gets_one(void **state)
{
    (void)state;
    struct loss_scale scale = {0};
    loss_scale_skip(&scale, 1);
    commit(&scale, 2 * LOSS_SCALE_GROWTH);
    assert_int_equal(scale.halvings, 0);
    assert_true(loss_scale_value(&scale, 1) == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_skip_halves_and_many_commits_double),
        cmocka_unit_test(a_skip_starts_the_count_anew),
        cmocka_unit_test(it_stays_between_one_and_the_largest),
        cmocka_unit_test(a_run_without_a_scale_never_gets_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
