/* test_slice.c - who holds which slice, and when one is lost. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/slice.h"

enum { MEMBERS_MAX = 9 };

/* All members of a generation but those of the bits of `gone`. */
static uint32_t fill(struct slice_holding holdings[MEMBERS_MAX], uint32_t count, uint32_t gone)
{
    uint32_t left = 0;
    for (uint32_t rank = 0; rank < count; rank++)
        if ((gone >> rank & 1) == 0)
            holdings[left++] = (struct slice_holding){rank, count};
    return left;
}

static void a_slice_is_lost_only_with_two_neighbours(void **state)
{
    (void)state;
    struct slice_holding holdings[MEMBERS_MAX];
    for (uint32_t count = 1; count <= MEMBERS_MAX; count++)
        for (uint32_t gone = 0; gone < 1U << count; gone++) {
            const uint32_t left = fill(holdings, count, gone);
            int is_lost = 0;
            for (uint32_t rank = 0; rank < count; rank++)
                is_lost |= (gone >> rank & 1) && (gone >> (rank + 1) % count & 1);
            assert_int_equal(slice_find_cut(holdings, left), is_lost ? 0 : count);
            for (uint32_t slice = 0; slice < count && !is_lost; slice++) {
                const uint32_t holder = slice_find_holder(holdings, left, slice, count);
                assert_true(holder < left && slice_is_held(&holdings[holder], slice, count));
            }
        }
}

static void one_who_has_all_of_it_is_enough(void **state)
{
    (void)state;
    const struct slice_holding holdings[] = {{0, 0}, {3, 5}, {0, 1}};
    assert_int_equal(slice_find_cut(holdings, 2), 0);
    assert_int_equal(slice_find_cut(holdings, 3), 1);
    assert_int_equal(slice_find_holder(holdings, 3, 0, 1), 2);
    assert_int_equal(slice_find_cut(holdings, 0), 0);
}

static void slices_of_two_cuts_are_not_mixed_up(void **state)
{
    (void)state;
    const struct slice_holding holdings[] = {{0, 4}, {1, 3}, {2, 4}, {2, 3}};
    assert_int_equal(slice_find_cut(holdings, 2), 0);
    assert_int_equal(slice_find_cut(holdings, 3), 4);
    assert_int_equal(slice_find_cut(holdings + 1, 3), 3);
    assert_int_equal(slice_find_holder(holdings, 4, 1, 4), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slice_is_lost_only_with_two_neighbours),
        cmocka_unit_test(one_who_has_all_of_it_is_enough),
        cmocka_unit_test(slices_of_two_cuts_are_not_mixed_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
