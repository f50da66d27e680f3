/* test_protocol.c - two ranges of versions have a newest one in common, or none. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "proto/message.h"
#include "proto/protocol.h"

static void programs_agree_on_the_newest_version_that_both_speak(void **state)
{
    (void)state;
    const uint32_t newest = protocol_newest(), oldest = protocol_oldest();
    assert_int_equal(newest, PROTOCOL_VERSION);
    assert_true(oldest <= newest);
    assert_int_equal(protocol_agree(newest, oldest), newest);
    assert_int_equal(protocol_agree(newest + 5, oldest), newest);
    assert_int_equal(protocol_agree(newest + 5, newest), newest);
    assert_int_equal(protocol_agree(oldest, 1), oldest);
}

static void a_program_without_a_range_speaks_one_version(void **state)
{
    (void)state;
    assert_int_equal(protocol_agree(protocol_newest(), 0), protocol_newest());
    assert_int_equal(protocol_agree(protocol_oldest(), 0), protocol_oldest());
    assert_int_equal(protocol_agree(protocol_newest() + 1, 0), 0);
}

static void programs_too_far_apart_or_out_of_their_mind_do_not_agree(void **state)
{
    (void)state;
    assert_int_equal(protocol_agree(protocol_oldest() - 1, 1), 0);
    assert_int_equal(protocol_agree(protocol_newest() + 2, protocol_newest() + 1), 0);
    assert_int_equal(protocol_agree(0, 0), 0);
    assert_int_equal(protocol_agree(UINT32_MAX, UINT32_MAX), 0);
    assert_int_equal(protocol_agree(protocol_newest(), UINT32_MAX), protocol_newest());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs_agree_on_the_newest_version_that_both_speak),
        cmocka_unit_test(a_program_without_a_range_speaks_one_version),
        cmocka_unit_test(programs_too_far_apart_or_out_of_their_mind_do_not_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
