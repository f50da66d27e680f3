/* test_snapshot_push.c - a window of parts: never more than four fly, every one arrives. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/hash.h"
#include "common/mem.h"
#include "worker/snapshot_push.h"

enum { STEP = 3, PARTS = 9, OFFSET = 4096, LENGTH = 8 * MESSAGE_PART_BYTES + 123 };

static struct snapshot_share *make_share(const char *name)
{
    struct snapshot_share *share = mem_zero(sizeof(*share));
    share->name = mem_string(name);
    share->step = STEP;
    snapshot_share_add(share, OFFSET, LENGTH);
    share->total = 100 << 20;
    share->bytes = mem_alloc(LENGTH);
    for (size_t i = 0; i < LENGTH; i++)
        share->bytes[i] = (uint8_t)(i * 7 + i / 1000);
    return share;
}

static void start(struct snapshot_push *push, const char *name)
{
    struct snapshot_share *share = make_share(name);
    snapshot_push_start(push, &share);
    assert_null(share);
}

static void acknowledge_step(struct snapshot_push *push, const char *name, uint64_t step,
                             uint64_t offset)
{
    struct message ack = {.header.step = step,
                          .snapshot_ack = {.name = (char *)name, .offset = offset}};
    snapshot_push_acknowledge(push, &ack);
}

static void acknowledge(struct snapshot_push *push, const char *name, uint64_t offset)
{
    acknowledge_step(push, name, STEP, offset);
}

static void four_parts_fly_and_all_arrive_once(void **unused)
{
    (void)unused;
    struct snapshot_push push = {0};
    struct message_snapshot_part part;
    uint64_t flying[PARTS], sent = 0, bytes = 0;
    start(&push, "s");
    for (uint64_t done = 0; done < PARTS; done++) {
        while (snapshot_push_next(&push, &part)) {
            assert_true(part.checksum == hash_bytes(part.data, part.length));
            assert_int_equal(part.offset, OFFSET + sent * MESSAGE_PART_BYTES);
            flying[sent++] = part.offset;
            bytes += part.length;
        }
        assert_int_equal(sent, done + 4 < PARTS ? done + 4 : PARTS);
        acknowledge(&push, "another", flying[done]);
        acknowledge_step(&push, "s", STEP - 1, flying[done]); /* of one that had its name */
        acknowledge(&push, "s", flying[done]);
        acknowledge(&push, "s", flying[done]); /* a duplicate changes nothing */
    }
    assert_int_equal(bytes, LENGTH);
    assert_null(push.share);
    assert_false(snapshot_push_next(&push, &part));
}

static void a_part_that_could_not_be_sent_is_given_again(void **unused)
{
    (void)unused;
    struct snapshot_push push = {0};
    struct message_snapshot_part part;
    start(&push, "s");
    for (uint64_t i = 0; i < 3; i++)
        assert_true(snapshot_push_next(&push, &part));
    snapshot_push_put_back(&push, &part);
    assert_true(snapshot_push_next(&push, &part));
    assert_int_equal(part.offset, OFFSET + 2 * MESSAGE_PART_BYTES);
    assert_true(snapshot_push_next(&push, &part));
    assert_int_equal(part.offset, OFFSET + 3 * MESSAGE_PART_BYTES);
    assert_false(snapshot_push_next(&push, &part)); /* four fly, not three */
    snapshot_push_done(&push);
}

static void after_a_reconnect_only_what_flew_is_sent_again(void **unused)
{
    (void)unused;
    struct snapshot_push push = {0};
    struct message_snapshot_part part;
    start(&push, "s");
    for (int i = 0; i < 4; i++)
        assert_true(snapshot_push_next(&push, &part));
    acknowledge(&push, "s", OFFSET);
    snapshot_push_again(&push);
    for (uint64_t i = 1; i < 5; i++) {
        assert_true(snapshot_push_next(&push, &part));
        assert_int_equal(part.offset, OFFSET + i * MESSAGE_PART_BYTES);
    }
    assert_false(snapshot_push_next(&push, &part));
    snapshot_push_done(&push);
}

static void a_newer_share_replaces_an_unfinished_one(void **unused)
{
    (void)unused;
    struct snapshot_push push = {0};
    struct message_snapshot_part part;
    start(&push, "old");
    assert_true(snapshot_push_next(&push, &part));
    start(&push, "new");
    assert_true(snapshot_push_next(&push, &part));
    assert_string_equal(part.name, "new");
    assert_int_equal(part.offset, OFFSET);
    acknowledge(&push, "old", OFFSET);
    assert_int_equal(push.acknowledged_count, 0);
    snapshot_push_done(&push);
}

static void a_share_that_is_dropped_sends_nothing_more(void **unused)
{
    (void)unused;
    struct snapshot_push push = {0};
    struct message_snapshot_part part;
    start(&push, "s");
    assert_true(snapshot_push_next(&push, &part));
    snapshot_push_drop(&push, "the server is away");
    assert_false(snapshot_push_next(&push, &part));
    snapshot_push_drop(&push, "nothing is left to drop");
    assert_null(push.share);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_parts_fly_and_all_arrive_once),
        cmocka_unit_test(a_part_that_could_not_be_sent_is_given_again),
        cmocka_unit_test(after_a_reconnect_only_what_flew_is_sent_again),
        cmocka_unit_test(a_newer_share_replaces_an_unfinished_one),
        cmocka_unit_test(a_share_that_is_dropped_sends_nothing_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
