/* test_witness.c - records of a worker's journal: the same again, the end, and damage. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <endian.h>

#include "common/hash.h"
#include "common/mem.h"
#include "tests/unit/witness_samples.h"

enum { HEAD_BYTES = 16, LIMIT = 1 << 20 };

static void encode(enum witness_kind kind, struct buf *out)
{
    struct witness witness;
    witness_sample(kind, &witness);
    assert_ok(witness_encode(&witness, out));
    witness_done(&witness);
}

static enum status read_at(const struct buf *bytes, size_t at, size_t length)
{
    struct witness witness;
    size_t taken;
    enum status status = witness_decode(bytes->bytes + at, length, &witness, &taken);
    if (status == OK)
        witness_done(&witness);
    return status;
}

static void what_is_written_is_read(void **unused)
{
    (void)unused;
    for (enum witness_kind kind = WITNESS_BEGIN; kind <= WITNESS_STEP; kind++) {
        struct buf first, second;
        struct witness witness;
        size_t taken;
        buf_init(&first, LIMIT);
        buf_init(&second, LIMIT);
        encode(kind, &first);
        assert_ok(witness_decode(first.bytes, first.length, &witness, &taken));
        assert_int_equal(taken, first.length);
        assert_int_equal(witness.kind, kind);
        assert_int_equal(witness.missed, 9);
        assert_ok(witness_encode(&witness, &second));
        assert_int_equal(first.length, second.length);
        assert_memory_equal(first.bytes, second.bytes, first.length);
        if (kind == WITNESS_STEP)
            assert_int_equal(witness.step.images[5].record, UINT32_MAX - 5);
        witness_done(&witness);
        buf_done(&first);
        buf_done(&second);
    }
}

/* What a kill, or a loss of power, leaves of the last frame. */
static void a_frame_that_is_cut_off_is_the_end(void **unused)
{
    (void)unused;
    struct buf bytes;
    buf_init(&bytes, LIMIT);
    encode(WITNESS_STEP, &bytes);
    for (size_t length = 0; length < bytes.length; length++)
        assert_int_equal(read_at(&bytes, 0, length), ERR_END);
    assert_int_equal(read_at(&bytes, 0, bytes.length), OK);
    memset(bytes.bytes, 0, bytes.length);
    assert_int_equal(read_at(&bytes, 0, bytes.length), ERR_END);
    bytes.bytes[bytes.length - 1] = 1; /* a hole: something follows */
    assert_int_equal(read_at(&bytes, 0, bytes.length), ERR_CORRUPT);
    buf_done(&bytes);
}

static void every_flipped_bit_is_damage(void **unused)
{
    (void)unused;
    struct buf bytes;
    buf_init(&bytes, LIMIT);
    encode(WITNESS_STATE, &bytes);
    for (size_t bit = 0; bit < 8 * bytes.length; bit++) {
        bytes.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(read_at(&bytes, 0, bytes.length), ERR_CORRUPT);
        bytes.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    buf_done(&bytes);
}

/* Puts a right checksum over whatever the record says now. */
static void seal(struct buf *bytes)
{
    uint64_t checksum = htole64(hash_bytes(bytes->bytes + HEAD_BYTES, bytes->length - HEAD_BYTES));
    memcpy(bytes->bytes + 8, &checksum, sizeof(checksum));
}

static void a_lie_about_a_count_takes_no_memory(void **unused)
{
    (void)unused;
    enum { SLOT_IMAGES_AT = HEAD_BYTES + 8 + 8 + 8 + 4 + 1 + 8 };
    struct buf bytes;
    buf_init(&bytes, LIMIT);
    encode(WITNESS_STEP, &bytes);
    const uint32_t lies[][2] = {{2, UINT32_MAX}, {2, 4}, {UINT32_MAX, 3}, {0, 1 << 19}};
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        memcpy(bytes.bytes + SLOT_IMAGES_AT, lies[i], sizeof(lies[i]));
        seal(&bytes);
        assert_int_equal(read_at(&bytes, 0, bytes.length), ERR_CORRUPT);
    }
    const uint32_t truth[] = {2, 3};
    memcpy(bytes.bytes + SLOT_IMAGES_AT, truth, sizeof(truth));
    seal(&bytes);
    assert_int_equal(read_at(&bytes, 0, bytes.length), OK);
    buf_done(&bytes);
}

static void another_format_or_kind_is_refused(void **unused)
{
    (void)unused;
    struct buf bytes;
    buf_init(&bytes, LIMIT);
    encode(WITNESS_BEGIN, &bytes);
    bytes.bytes[HEAD_BYTES + 8]++;
    seal(&bytes);
    assert_int_equal(read_at(&bytes, 0, bytes.length), ERR_CORRUPT);
    assert_non_null(strstr(fail_message(), "format 2"));
    bytes.bytes[HEAD_BYTES] = 200;
    seal(&bytes);
    assert_int_equal(read_at(&bytes, 0, bytes.length), ERR_CORRUPT);
    assert_non_null(strstr(fail_message(), "kind 200"));
    buf_done(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_frame_that_is_cut_off_is_the_end),
        cmocka_unit_test(every_flipped_bit_is_damage),
        cmocka_unit_test(a_lie_about_a_count_takes_no_memory),
        cmocka_unit_test(another_format_or_kind_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
