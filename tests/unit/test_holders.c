/* test_holders.c - what loaders hold, who is asked for a record, and for whom a worker waits. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

#include "loader/holders.h"
#include "loader/inventory.h"

static const char *const addresses[] = {"tcp://a", "tcp://b", "tcp://c"};
/* Their hashes are not known, but for one. */
static const struct planned_shard x = {"x", 10, 0}, y = {"y", 10, 0}, longer_x = {"x", 11, 0};
static const struct planned_shard first_x = {"x", 10, 1};

static struct loader_shard shard_of(const char *name, uint64_t hash)
{
    return (struct loader_shard){.name = (char *)name,
                                 .state = LOADER_SHARD_HELD,
                                 .records = 10,
                                 .content_hash = hash,
                                 .reason = ""};
}

/* Each loader holds the shards named, as one whole inventory. */
static void tell(struct holders *holders, int i, const char *names)
{
    struct loader_shard shards[8];
    char texts[8][4];
    struct loader_inventory said = {.is_first = 1, .is_last = 1, .shards = shards};
    for (; names[said.shard_count] != '\0'; said.shard_count++) {
        snprintf(texts[said.shard_count], sizeof(texts[0]), "%c", names[said.shard_count]);
        shards[said.shard_count] = shard_of(texts[said.shard_count], 1);
    }
    assert_ok(inventory_hear(&holders->items[i].inventory, &said));
    holders->items[i].is_present = holders->items[i].is_whole = 1;
}

/* ---- inventories ---- */

static void hear_one(void *context, const struct loader_shard *shard)
{
    const struct loader_inventory said = {.shard_count = 1, .shards = (struct loader_shard *)shard};
    assert_ok(inventory_hear(context, &said));
}

static void count_one(void *context, const struct loader_shard *shard)
{
    (void)shard;
    ++*(int *)context;
}

static void test_hearing_the_difference_makes_one_inventory_the_other(void **state)
{
    (void)state;
    struct inventory told = {0}, present = {0}, heard = {0};
    for (int round = 0; round < 200; round++) {
        char name[16];
        snprintf(name, sizeof(name), "shard-%d", round * 7919 % 50);
        struct loader_shard shard = shard_of(name, (uint64_t)round);
        if (round % 3 == 2)
            inventory_remove(&present, name);
        else
            assert_ok(inventory_put(&present, &shard));
        if (round % 5 != 0)
            continue;
        int changes = 0;
        inventory_compare(&told, &present, hear_one, &heard);
        inventory_compare(&heard, &present, count_one, &changes);
        assert_int_equal(changes, 0);
        assert_int_equal(heard.count, present.count);
        inventory_done(&told);
        for (uint32_t i = 0; i < present.count; i++)
            assert_ok(inventory_put(&told, &present.items[i]));
    }
    inventory_done(&told);
    inventory_done(&present);
    inventory_done(&heard);
}

static void test_a_first_page_forgets_what_was_said_before(void **state)
{
    (void)state;
    struct inventory heard = {0};
    struct loader_shard shard = shard_of("a", 1);
    assert_ok(inventory_put(&heard, &shard));
    shard = shard_of("b", 1);
    const struct loader_inventory said = {.is_first = 1, .shard_count = 1, .shards = &shard};
    assert_ok(inventory_hear(&heard, &said));
    assert_null(inventory_find(&heard, "a"));
    assert_non_null(inventory_find(&heard, "b"));
    inventory_done(&heard);
}

/* ---- choice ---- */

static void test_only_who_is_there_and_holds_it_is_asked(void **state)
{
    (void)state;
    struct holders holders;
    holders_init(&holders, addresses, 3);
    assert_int_equal(holders_choose(&holders, &x, 0), -1);
    tell(&holders, 1, "x");
    tell(&holders, 2, "y");
    assert_int_equal(holders_choose(&holders, &x, 0), 1);
    assert_int_equal(holders_choose(&holders, &longer_x, 0), -1);
    assert_int_equal(holders_choose(&holders, &x, 1U << 1), -1);
    holders.items[1].is_present = 0;
    assert_int_equal(holders_choose(&holders, &x, 0), -1);
    holders_done(&holders);
}

static void test_a_shard_has_its_loader_and_shards_are_spread(void **state)
{
    (void)state;
    struct holders holders;
    int counts[3] = {0};
    holders_init(&holders, addresses, 3);
    for (int i = 0; i < 3; i++)
        tell(&holders, i, "");
    for (int s = 0; s < 300; s++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", s);
        struct loader_shard shard = shard_of(name, 1);
        for (int i = 0; i < 3; i++)
            assert_ok(inventory_put(&holders.items[i].inventory, &shard));
        const struct planned_shard planned = {name, 10, 1};
        int usual = holders_choose(&holders, &planned, 0);
        assert_int_equal(holders_choose(&holders, &planned, 0), usual);
        counts[usual]++;
        /* Without it the others' shards stay where they are. */
        int other = (usual + 1) % 3;
        assert_int_equal(holders_choose(&holders, &planned, 1U << other), usual);
        assert_int_not_equal(holders_choose(&holders, &planned, 1U << usual), usual);
    }
    for (int i = 0; i < 3; i++)
        assert_in_range(counts[i], 60, 140);
    holders_done(&holders);
}

static void test_a_loader_that_is_much_busier_is_helped_out(void **state)
{
    (void)state;
    struct holders holders;
    holders_init(&holders, addresses, 2);
    tell(&holders, 0, "x");
    tell(&holders, 1, "x");
    int usual = holders_choose(&holders, &x, 0);
    holders.items[usual].asked = HOLDERS_BUSIER;
    assert_int_equal(holders_choose(&holders, &x, 0), usual);
    holders.items[usual].asked = HOLDERS_BUSIER + 1;
    assert_int_equal(holders_choose(&holders, &x, 0), 1 - usual);
    holders_done(&holders);
}

/* ---- verdicts ---- */

static void test_a_loader_that_is_away_is_waited_for_by_name(void **state)
{
    (void)state;
    struct holders holders;
    holders_init(&holders, addresses, 2);
    tell(&holders, 0, "y");
    assert_fails(holders_verdict(&holders, &x), ERR_UNREACHABLE, "tcp://b is away");
    assert_non_null(strstr(fail_message(), "shard 'x'"));
    assert_non_null(strstr(fail_message(), "tcp://a does not hold it"));
    assert_ok(holders_verdict(&holders, &y));
    tell(&holders, 1, "");
    assert_fails(holders_verdict(&holders, &x), ERR_INPUT, "tcp://b does not hold it");
    holders.items[1].is_whole = 0;
    assert_fails(holders_verdict(&holders, &x), ERR_UNREACHABLE, "still opening");
    holders_done(&holders);
}

static void test_a_damaged_copy_counts_only_if_nobody_is_away_and_none_is_whole(void **state)
{
    (void)state;
    struct holders holders;
    struct loader_shard damaged = shard_of("x", 1);
    damaged.state = LOADER_SHARD_DAMAGED;
    damaged.reason = "cut off";
    holders_init(&holders, addresses, 2);
    tell(&holders, 0, "");
    assert_ok(inventory_put(&holders.items[0].inventory, &damaged));
    assert_fails(holders_verdict(&holders, &x), ERR_UNREACHABLE, "cut off");
    tell(&holders, 1, "");
    assert_fails(holders_verdict(&holders, &x), ERR_CORRUPT, "cut off");
    assert_int_equal(holders_choose(&holders, &x, 0), -1);
    tell(&holders, 1, "x");
    assert_ok(holders_verdict(&holders, &x));
    assert_int_equal(holders_choose(&holders, &x, 0), 1);
    holders_done(&holders);
}

static void test_different_shards_of_one_name_are_asked_of_nobody(void **state)
{
    (void)state;
    struct holders holders;
    struct loader_shard other = shard_of("x", 2);
    holders_init(&holders, addresses, 2);
    tell(&holders, 0, "x");
    tell(&holders, 1, "");
    assert_ok(inventory_put(&holders.items[1].inventory, &other));
    assert_int_equal(holders_choose(&holders, &x, 0), -1);
    assert_fails(holders_verdict(&holders, &x), ERR_UNREACHABLE, "different shards");
    inventory_remove(&holders.items[1].inventory, "x");
    assert_ok(holders_verdict(&holders, &x));
    holders_done(&holders);
}

static void test_only_the_shard_that_the_server_plans_is_asked_for(void **state)
{
    (void)state;
    struct holders holders;
    struct loader_shard other = shard_of("x", 2);
    holders_init(&holders, addresses, 2);
    tell(&holders, 0, "");
    assert_ok(inventory_put(&holders.items[0].inventory, &other));
    tell(&holders, 1, "");
    assert_int_equal(holders_choose(&holders, &first_x, 0), -1);
    assert_fails(holders_verdict(&holders, &first_x), ERR_INPUT,
                 "shard 'x' of 10 records is not here: tcp://a holds another one, of hash "
                 "0000000000000002 and not 0000000000000001, tcp://b does not hold it");
    other.state = LOADER_SHARD_DAMAGED; /* of the other one it says nothing about ours */
    assert_ok(inventory_put(&holders.items[0].inventory, &other));
    assert_fails(holders_verdict(&holders, &first_x), ERR_INPUT, "cannot read it");
    other.state = LOADER_SHARD_HELD;
    assert_ok(inventory_put(&holders.items[0].inventory, &other));
    tell(&holders, 1, "x"); /* two of one name, and it is known which */
    assert_ok(holders_verdict(&holders, &first_x));
    assert_int_equal(holders_choose(&holders, &first_x, 0), 1);
    assert_int_equal(holders_choose(&holders, &x, 0), -1);
    holders_done(&holders);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hearing_the_difference_makes_one_inventory_the_other),
        cmocka_unit_test(test_a_first_page_forgets_what_was_said_before),
        cmocka_unit_test(test_only_who_is_there_and_holds_it_is_asked),
        cmocka_unit_test(test_a_shard_has_its_loader_and_shards_are_spread),
        cmocka_unit_test(test_a_loader_that_is_much_busier_is_helped_out),
        cmocka_unit_test(test_a_loader_that_is_away_is_waited_for_by_name),
        cmocka_unit_test(test_a_damaged_copy_counts_only_if_nobody_is_away_and_none_is_whole),
        cmocka_unit_test(test_different_shards_of_one_name_are_asked_of_nobody),
        cmocka_unit_test(test_only_the_shard_that_the_server_plans_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
