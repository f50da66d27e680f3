/* test_intervals.c - byte ranges that come in any order. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "server/intervals.h"

static void ranges_in_any_order_cover_the_whole(void **state)
{
    (void)state;
    enum { BYTES = 64, ROUNDS = 500 };
    const char *given = getenv("SEER_SEED");
    long seed = given != NULL ? strtol(given, NULL, 10) : 4711;
    printf("SEER_SEED=%ld\n", seed);
    srand48(seed);
    for (int round = 0; round < ROUNDS; round++) {
        struct intervals intervals;
        uint8_t there[BYTES] = {0};
        intervals_init(&intervals);
        int missing = BYTES;
        while (missing > 0) {
            assert_false(intervals_cover(&intervals, BYTES));
            uint64_t begin = (uint64_t)(lrand48() % BYTES), end = begin + (uint64_t)(lrand48() % 9);
            end = end > BYTES ? BYTES : end;
            intervals_add(&intervals, begin, end);
            for (uint64_t i = begin; i < end; i++) {
                missing -= !there[i];
                there[i] = 1;
            }
            for (size_t i = 1; i < intervals.count; i++)
                assert_true(intervals.items[i - 1].end < intervals.items[i].begin);
        }
        assert_true(intervals_cover(&intervals, BYTES));
        assert_false(intervals_cover(&intervals, BYTES + 1));
        intervals_done(&intervals);
    }
}

static void nothing_is_no_interval(void **state)
{
    (void)state;
    struct intervals intervals;
    intervals_init(&intervals);
    intervals_add(&intervals, 5, 5);
    assert_int_equal(intervals.count, 0);
    intervals_add(&intervals, 0, 5);
    intervals_clear(&intervals);
    assert_false(intervals_cover(&intervals, 5));
    intervals_done(&intervals);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_in_any_order_cover_the_whole),
        cmocka_unit_test(nothing_is_no_interval),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
