/* test_bn_groups.c - who sums which BN group with whom, for every way to deal slots. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "worker/model/bn_groups.h"

enum { SLOTS = 12, MEMBERS_MAX = SLOTS };

static int has_slot_of(const struct bn_share *share, int group, int group_slots)
{
    const int first = group * group_slots, end = first + group_slots;
    return (int)share->first < end && (int)(share->first + share->count) > first;
}

/* In the cuts each group meets exactly those who hold slots of it, if they are several. */
static void check_deal(const struct bn_share *shares, int members, int group_slots)
{
    struct bn_groups of[MEMBERS_MAX];
    for (int rank = 0; rank < members; rank++) {
        bn_groups_make(&of[rank], shares, members, rank, group_slots);
        assert_true(of[rank].key != 0 && of[rank].key == of[0].key);
    }
    for (int group = 0; group < SLOTS / group_slots; group++) {
        int holders = 0, cut = COLLECTIVE_CUTS;
        for (int rank = 0; rank < members; rank++)
            holders += has_slot_of(&shares[rank], group, group_slots);
        for (int rank = 0; rank < members; rank++) {
            const int in[COLLECTIVE_CUTS] = {of[rank].group[0] == group,
                                             of[rank].group[1] == group};
            const int wanted = holders > 1 && has_slot_of(&shares[rank], group, group_slots);
            assert_int_equal(in[0] + in[1], wanted);
            if (wanted && cut == COLLECTIVE_CUTS)
                cut = in[1];
            assert_true(!wanted || in[cut]); /* the same cut for all */
        }
    }
}

/* Every way to cut SLOTS into runs: a bit for each slot that begins one. */
static void all_deals_of_all_groups_are_cut_right(void **state)
{
    (void)state;
    for (uint32_t starts = 0; starts < 1u << (SLOTS - 1); starts++) {
        struct bn_share shares[MEMBERS_MAX];
        int members = 0;
        for (uint32_t slot = 0; slot < SLOTS; slot++) {
            if (slot == 0 || (starts >> (slot - 1) & 1) != 0)
                shares[members++] = (struct bn_share){.first = slot};
            shares[members - 1].count++;
        }
        for (int group_slots = 1; group_slots <= SLOTS; group_slots++)
            if (SLOTS % group_slots == 0)
                check_deal(shares, members, group_slots);
    }
}

static void another_deal_has_another_key(void **state)
{
    (void)state;
    struct bn_groups one, other;
    bn_groups_make(&one, (const struct bn_share[]){{0, 6}, {6, 6}}, 2, 0, 3);
    bn_groups_make(&other, (const struct bn_share[]){{0, 5}, {5, 7}}, 2, 0, 3);
    assert_true(one.key != other.key);
}

static void slots_that_are_no_runs_are_not_cut(void **state)
{
    (void)state;
    static const struct bn_share odd[][2] = {
        {{0, 0}, {1, 6}}, {{0, 6}, {6, 0}}, {{0, 6}, {7, 5}}, {{6, 6}, {0, 6}}, {{1, 5}, {6, 6}},
    };
    for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++)
        for (int rank = 0; rank < 2; rank++) {
            struct bn_groups groups;
            bn_groups_make(&groups, odd[i], 2, rank, 3);
            assert_true(groups.key == 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_deals_of_all_groups_are_cut_right),
        cmocka_unit_test(another_deal_has_another_key),
        cmocka_unit_test(slots_that_are_no_runs_are_not_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
