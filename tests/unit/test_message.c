/* test_message.c - every word survives the wire, and no bytes from outside can hurt. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "proto/control.pb-c.h"
#include "proto/message.h"
#include "tests/unit/message_samples.h"

static void encode(const struct message *message, struct buf *packed)
{
    buf_init(packed, MESSAGE_BYTES_MAX);
    assert_ok(message_encode(message, packed));
}

static void every_field_of_every_kind_survives_the_wire(void **state)
{
    (void)state;
    for (const enum message_kind *kind = message_sample_kinds; *kind != 0; kind++) {
        struct message sent, received;
        struct buf packed;
        message_sample(*kind, &sent);
        encode(&sent, &packed);
        assert_ok(message_decode(packed.bytes, packed.length, &received));
        assert_message_equal(&sent, &received);
        assert_string_not_equal(message_kind_name(*kind), "unknown");
        message_done(&sent);
        message_done(&received);
        buf_done(&packed);
    }
}

static void a_copy_is_equal_and_its_own(void **state)
{
    (void)state;
    for (const enum message_kind *kind = message_sample_kinds; *kind != 0; kind++) {
        struct message sample, copy, again;
        message_sample(*kind, &sample);
        message_copy(&sample, &copy);
        message_done(&sample);
        message_sample(*kind, &again);
        assert_message_equal(&again, &copy);
        message_done(&again);
        message_done(&copy);
        message_done(&copy); /* a second time is fine */
    }
}

static void absent_fields_arrive_as_zero_and_as_empty_text(void **state)
{
    (void)state;
    for (const enum message_kind *kind = message_sample_kinds; *kind != 0; kind++) {
        if (*kind == MESSAGE_REGROUP || *kind == MESSAGE_PREPARE || *kind == MESSAGE_SNAPSHOT_BEGIN)
            continue; /* a rank of no members is refused, see below */
        struct message sent, received;
        struct buf packed;
        memset(&sent, 0, sizeof(sent));
        sent.kind = *kind;
        encode(&sent, &packed);
        assert_ok(message_decode(packed.bytes, packed.length, &received));
        if (*kind == MESSAGE_HELLO)
            assert_string_equal(received.hello.name, "");
        message_done(&received);
        buf_done(&packed);
    }
}

static void a_message_cut_anywhere_is_refused_or_harmless(void **state)
{
    (void)state;
    for (const enum message_kind *kind = message_sample_kinds; *kind != 0; kind++) {
        struct message message;
        struct buf packed;
        message_sample(*kind, &message);
        encode(&message, &packed);
        message_done(&message);
        for (size_t length = 0; length < packed.length; length++) {
            uint8_t *cut = mem_alloc(length); /* its own block, so that ASan sees a read behind */
            memcpy(cut, packed.bytes, length);
            if (message_decode(cut, length, &message) == OK)
                message_done(&message);
            mem_free(cut);
        }
        buf_done(&packed);
    }
}

static void mutated_messages_are_refused_or_within_the_limits(void **state)
{
    (void)state;
    enum { ROUNDS = 3000 };
    const char *given = getenv("SEER_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : 20260701;
    printf("SEER_SEED=%llu\n", (unsigned long long)seed);
    srand48((long)seed);
    for (const enum message_kind *kind = message_sample_kinds; *kind != 0; kind++) {
        struct message message;
        struct buf packed;
        message_sample(*kind, &message);
        encode(&message, &packed);
        message_done(&message);
        for (int round = 0; round < ROUNDS; round++) {
            uint8_t *bytes = mem_alloc(packed.length);
            memcpy(bytes, packed.bytes, packed.length);
            for (long i = lrand48() % 4; i >= 0; i--)
                bytes[(size_t)lrand48() % packed.length] = (uint8_t)lrand48();
            if (message_decode(bytes, packed.length, &message) == OK)
                message_done(&message);
            mem_free(bytes);
        }
        buf_done(&packed);
    }
}

/* An envelope of this kind around a body that we write ourselves. */
static enum status decode_body(enum message_kind kind, const void *body, size_t length)
{
    Seer__Envelope envelope = SEER__ENVELOPE__INIT;
    envelope.has_kind = 1;
    envelope.kind = kind;
    envelope.has_body = 1;
    envelope.body = (ProtobufCBinaryData){length, (uint8_t *)(uintptr_t)body};
    uint8_t *bytes = mem_alloc(seer__envelope__get_packed_size(&envelope));
    size_t packed = seer__envelope__pack(&envelope, bytes);
    struct message message;
    enum status status = message_decode(bytes, packed, &message);
    if (status == OK)
        message_done(&message);
    mem_free(bytes);
    return status;
}

static void empty_elements_cannot_be_blown_up_into_gigabytes(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    uint8_t *body = mem_alloc(BYTES);
    for (int i = 0; i < BYTES; i += 2) {
        body[i] = 1 << 3 | 2; /* Shards.shards, a message of no bytes */
        body[i + 1] = 0;
    }
    assert_fails(decode_body(MESSAGE_SHARDS, body, BYTES), ERR_PROTOCOL, "bloated");
    mem_free(body);
}

static void too_many_elements_are_refused(void **state)
{
    (void)state;
    struct message message;
    struct buf packed;
    memset(&message, 0, sizeof(message));
    message.kind = MESSAGE_READY;
    message.ready.skip_count = MESSAGE_SKIPS_MAX + 1;
    message.ready.skips = mem_array(MESSAGE_SKIPS_MAX + 1, sizeof(struct message_skip));
    buf_init(&packed, MESSAGE_BYTES_MAX);
    assert_fails(message_encode(&message, &packed), ERR_INPUT, "skips");
    assert_int_equal(packed.length, 0);
    buf_done(&packed);
    message_done(&message);

    enum { PHASES = PHASE_COUNT + 1 };
    uint8_t body[2 + PHASES] = {7 << 3 | 2, PHASES}; /* Ready.phase_us, packed zeros */
    assert_fails(decode_body(MESSAGE_READY, body, sizeof(body)), ERR_PROTOCOL, "phase_us");
    assert_int_equal(decode_body(MESSAGE_READY, body, 0), OK);
}

static void the_size_is_checked_before_anything_is_unpacked(void **state)
{
    (void)state;
    struct message message;
    uint8_t *bytes = mem_zero(MESSAGE_BYTES_MAX + 1);
    assert_fails(message_decode(bytes, MESSAGE_BYTES_MAX + 1, &message), ERR_PROTOCOL, "at most");
    mem_free(bytes);
    assert_fails(decode_body(999, "", 0), ERR_PROTOCOL, "unknown");
}

static void expect_refused(struct message *message, const char *words)
{
    struct buf packed;
    struct message received;
    encode(message, &packed);
    assert_fails(message_decode(packed.bytes, packed.length, &received), ERR_PROTOCOL, words);
    buf_done(&packed);
    message_done(message);
}

static void values_that_cannot_be_together_are_refused(void **state)
{
    (void)state;
    struct message message;
    message_sample(MESSAGE_REGROUP, &message);
    message.regroup.rank = message.regroup.member_count;
    expect_refused(&message, "rank");
    message_sample(MESSAGE_PLAN, &message);
    message.plan.slot_images++;
    expect_refused(&message, "records");
    message_sample(MESSAGE_PLAN, &message);
    message.plan.slots_in_step = 4;
    expect_refused(&message, "slot");
    message_sample(MESSAGE_SNAPSHOT_PART, &message);
    message.snapshot_part.offset = UINT64_MAX;
    expect_refused(&message, "bytes");
    message_sample(MESSAGE_SNAPSHOT_BEGIN, &message);
    message.snapshot_begin.share = 3;
    expect_refused(&message, "share");
    message_sample(MESSAGE_HEARTBEAT, &message);
    message.heartbeat.phase = PHASE_COUNT;
    expect_refused(&message, "phase");
    message_sample(MESSAGE_REPLY, &message);
    message.reply.status = ERR_END + 1;
    expect_refused(&message, "status");
}

static void one_list_longer_than_its_twin_is_refused(void **state)
{
    (void)state;
    /* Plan.shards = [1 2], Plan.records = [1]. */
    const uint8_t body[] = {4 << 3 | 2, 2, 1, 2, 5 << 3 | 2, 1, 1};
    assert_fails(decode_body(MESSAGE_PLAN, body, sizeof(body)), ERR_PROTOCOL, "records");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_of_every_kind_survives_the_wire),
        cmocka_unit_test(a_copy_is_equal_and_its_own),
        cmocka_unit_test(absent_fields_arrive_as_zero_and_as_empty_text),
        cmocka_unit_test(a_message_cut_anywhere_is_refused_or_harmless),
        cmocka_unit_test(mutated_messages_are_refused_or_within_the_limits),
        cmocka_unit_test(empty_elements_cannot_be_blown_up_into_gigabytes),
        cmocka_unit_test(too_many_elements_are_refused),
        cmocka_unit_test(the_size_is_checked_before_anything_is_unpacked),
        cmocka_unit_test(values_that_cannot_be_together_are_refused),
        cmocka_unit_test(one_list_longer_than_its_twin_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
