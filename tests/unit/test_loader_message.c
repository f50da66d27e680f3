/* test_loader_message.c - the loader protocol keeps its values, and its limits against strangers.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <string.h>

#include "common/mem.h"
#include "tests/unit/loader_message_samples.h"

static void encode(const struct loader_message *message, struct buf *out)
{
    buf_init(out, LOADER_MESSAGE_BYTES_MAX);
    assert_ok(loader_message_encode(message, out));
}

/* What a stranger says that loader_message_decode refuses with these words. */
static void refuses(const struct loader_message *message, const char *words)
{
    struct loader_message decoded;
    struct buf packed;
    encode(message, &packed);
    assert_fails(loader_message_decode(packed.bytes, packed.length, &decoded), ERR_PROTOCOL, words);
    buf_done(&packed);
}

static void test_every_message_comes_back_as_it_was_sent(void **state)
{
    (void)state;
    for (int i = 0; i < LOADER_SAMPLE_COUNT; i++) {
        struct loader_message sample = loader_message_sample(i), decoded;
        struct buf first, second;
        encode(&sample, &first);
        assert_ok(loader_message_decode(first.bytes, first.length, &decoded));
        assert_int_equal(decoded.kind, sample.kind);
        encode(&decoded, &second);
        assert_int_equal(first.length, second.length);
        assert_memory_equal(first.bytes, second.bytes, first.length);
        loader_message_done(&decoded);
        buf_done(&first);
        buf_done(&second);
    }
}

static void test_values_are_the_ones_that_were_sent(void **state)
{
    (void)state;
    struct loader_message sample = loader_message_sample(6), decoded; /* records */
    struct buf packed;
    encode(&sample, &packed);
    assert_ok(loader_message_decode(packed.bytes, packed.length, &decoded));
    assert_int_equal(decoded.records.part_count, 3);
    assert_int_equal(decoded.records.parts[1].request, 8);
    assert_int_equal(decoded.records.parts[1].offset, 3);
    assert_int_equal(decoded.records.parts[1].total, 100);
    assert_int_equal(decoded.records.parts[1].digest, 42);
    assert_memory_equal(decoded.records.parts[0].data, sample.records.parts[0].data, 7);
    loader_message_done(&decoded);
    buf_done(&packed);
}

static void test_messages_cut_off_anywhere_are_refused_or_whole(void **state)
{
    (void)state;
    for (int i = 0; i < LOADER_SAMPLE_COUNT; i++) {
        struct loader_message sample = loader_message_sample(i);
        struct buf packed;
        encode(&sample, &packed);
        for (size_t length = 0; length < packed.length; length++) {
            struct loader_message decoded;
            if (loader_message_decode(packed.bytes, length, &decoded) == OK)
                loader_message_done(&decoded);
        }
        buf_done(&packed);
    }
}

static void test_what_is_too_large_is_refused_before_it_is_unpacked(void **state)
{
    (void)state;
    struct loader_message decoded;
    uint8_t *bytes = mem_zero(LOADER_MESSAGE_BYTES_MAX + 1);
    assert_fails(loader_message_decode(bytes, LOADER_MESSAGE_BYTES_MAX + 1, &decoded), ERR_PROTOCOL,
                 "at most");
    mem_free(bytes);
}

static void test_fields_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    struct loader_shard nameless = {.name = "", .state = LOADER_SHARD_HELD};
    struct loader_message message = loader_message_sample(5);
    message.inventory.shard_count = 1;
    message.inventory.shards = &nameless;
    refuses(&message, "without a name");
    nameless = (struct loader_shard){.name = "x", .state = 4};
    refuses(&message, "state 4");

    uint32_t which[] = {2}, records[] = {0};
    message = loader_message_sample(1);
    message.read.record_count = 1;
    message.read.which = which;
    message.read.records = records;
    refuses(&message, "shard 2 of 2");
    which[0] = 0;
    message.read.request = UINT64_MAX;
    refuses(&message, "beyond the last");

    uint8_t data[4] = {0};
    struct loader_part part = {.total = 4, .offset = 1, .length = 4, .data = data};
    message = loader_message_sample(6);
    message.records.part_count = 1;
    message.records.parts = &part;
    refuses(&message, "bytes 1+4 of 4");
    part = (struct loader_part){.total = UINT32_MAX, .length = 4, .data = data};
    refuses(&message, "at most");
    part = (struct loader_part){.total = 4};
    refuses(&message, "without bytes");

    message = loader_message_sample(7);
    message.refusal.cause = 9;
    refuses(&message, "cause 9");
    message = loader_message_sample(4);
    message.request.request = UINT64_MAX;
    refuses(&message, "beyond the last");
}

static void test_texts_and_lists_beyond_their_limits_are_refused(void **state)
{
    (void)state;
    char *name = mem_zero(LOADER_NAME_MAX + 2);
    memset(name, 'x', LOADER_NAME_MAX + 1);
    struct loader_shard shard = {.name = name, .state = LOADER_SHARD_HELD};
    struct loader_message message = {.kind = LOADER_INVENTORY,
                                     .inventory = {.shard_count = 1, .shards = &shard}};
    struct buf packed;
    buf_init(&packed, LOADER_MESSAGE_BYTES_MAX);
    assert_fails(loader_message_encode(&message, &packed), ERR_INPUT, "name");
    buf_done(&packed);
    mem_free(name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_message_comes_back_as_it_was_sent),
        cmocka_unit_test(test_values_are_the_ones_that_were_sent),
        cmocka_unit_test(test_messages_cut_off_anywhere_are_refused_or_whole),
        cmocka_unit_test(test_what_is_too_large_is_refused_before_it_is_unpacked),
        cmocka_unit_test(test_fields_that_contradict_each_other_are_refused),
        cmocka_unit_test(test_texts_and_lists_beyond_their_limits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
