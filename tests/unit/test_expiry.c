/* test_expiry.c - what is old goes, what is too much goes, and nothing that nobody let live. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "server/core.h"
#include "server/expiry.h"

enum { SHARDS = 5 };

static const int64_t day_ms = 24LL * 3600 * 1000;
static const int64_t now_ms = 1000 * 24LL * 3600 * 1000;

/* Shard i is i + 1 days old; 0 and 3 were ingested by hand. */
struct fixture {
    struct stream *stream;
    struct expiry_fact facts[SHARDS];
    uint32_t ids[SHARDS];
};

static struct fixture make(void)
{
    struct fixture f = {
        .stream = stream_create(&(struct stream_setup){.block_records = 4, .window_blocks = 2})};
    for (uint32_t i = 0; i < SHARDS; i++) {
        uint32_t id;
        assert_ok(stream_add_shard(f.stream, 10, &id));
        f.facts[i] = (struct expiry_fact){
            .created_ms = now_ms - (i + 1) * day_ms, .bytes = 100, .is_living = i % 3 != 0};
    }
    return f;
}

static uint32_t choose(struct fixture *f, int64_t days, uint64_t bytes)
{
    struct stream_policy policy = {.max_age_days = days, .max_bytes = bytes};
    return expiry_choose(f->stream, f->facts, SHARDS, &policy, now_ms, f->ids);
}

static void living_shards_expire_by_age_and_the_oldest_first(void **state)
{
    (void)state;
    struct fixture f = make();
    assert_int_equal(choose(&f, 0, 0), 0);
    assert_int_equal(choose(&f, 90, 0), 0);
    assert_int_equal(choose(&f, 5, 0), 0); /* exactly so old is not older */
    assert_int_equal(choose(&f, 4, 0), 1);
    assert_int_equal(f.ids[0], 4);
    assert_int_equal(choose(&f, 1, 0), 3);
    assert_int_equal(f.ids[0], 4);
    assert_int_equal(f.ids[1], 2);
    assert_int_equal(f.ids[2], 1);
    stream_destroy(f.stream);
}

static void living_shards_expire_by_bytes_but_for_the_newest(void **state)
{
    (void)state;
    struct fixture f = make();
    assert_int_equal(choose(&f, 0, 300), 0); /* those by hand do not count */
    assert_int_equal(choose(&f, 0, 299), 1);
    assert_int_equal(f.ids[0], 4);
    assert_int_equal(choose(&f, 0, 1), 2);
    assert_int_equal(f.ids[1], 2);
    assert_int_equal(choose(&f, 2, 299), 2); /* 4 for both reasons, 2 for its age */
    stream_destroy(f.stream);
}

static void what_is_retired_already_is_neither_chosen_nor_counted(void **state)
{
    (void)state;
    struct fixture f = make();
    stream_retire_shard(f.stream, 4);
    assert_int_equal(choose(&f, 4, 200), 0);
    assert_int_equal(choose(&f, 0, 199), 1);
    assert_int_equal(f.ids[0], 2);
    stream_destroy(f.stream);
}

static void shards_that_no_store_told_of_stay(void **state)
{
    (void)state;
    struct fixture f = make();
    struct stream_policy policy = {.max_age_days = 1};
    assert_int_equal(expiry_choose(f.stream, f.facts, 3, &policy, now_ms, f.ids), 2);
    assert_int_equal(expiry_choose(f.stream, NULL, 0, &policy, now_ms, f.ids), 0);
    /* A store that tells of more than the stream knows is not believed. */
    uint32_t id;
    struct stream *empty =
        stream_create(&(struct stream_setup){.block_records = 4, .window_blocks = 2});
    assert_int_equal(expiry_choose(empty, f.facts, SHARDS, &policy, now_ms, f.ids), 0);
    assert_ok(stream_add_shard(empty, 1, &id));
    stream_destroy(empty);
    stream_destroy(f.stream);
}

static void a_config_is_a_policy(void **state)
{
    (void)state;
    struct config config;
    config_init(&config);
    struct stream_policy policy = stream_policy_of(&config);
    assert_int_equal(policy.max_age_days, 90);
    assert_int_equal(policy.max_bytes, 0);
    assert_int_equal(policy.is_repeating, 1);
    assert_int_equal(policy.is_unlinking, 1);
    config.data.max_gb = 3;
    assert_int_equal(stream_policy_of(&config).max_bytes, UINT64_C(3) << 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(living_shards_expire_by_age_and_the_oldest_first),
        cmocka_unit_test(living_shards_expire_by_bytes_but_for_the_newest),
        cmocka_unit_test(what_is_retired_already_is_neither_chosen_nor_counted),
        cmocka_unit_test(shards_that_no_store_told_of_stay),
        cmocka_unit_test(a_config_is_a_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
