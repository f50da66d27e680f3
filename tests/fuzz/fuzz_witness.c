/* fuzz_witness.c - any bytes as a worker's journal: heard to their end, or refused.
 *
 * The input is a file's frames without their checksums being right: each is mended first, so that
 * what decodes is as odd as the mutation made it. What is read must be the same when written again,
 * and a hearing must bear it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <endian.h>
#include <string.h>

#include "common/check.h"
#include "common/hash.h"
#include "server/hearing.h"

enum { HEAD_BYTES = 16, STEPS = 8, SLOT_IMAGES = 2, BATCH = 8, RECORDS = 100 };

/* Puts a right complement and checksum into each frame, as far as lengths fit. */
static void mend(uint8_t *bytes, size_t length)
{
    for (size_t at = 0; length - at >= HEAD_BYTES;) {
        uint32_t record;
        memcpy(&record, bytes + at, sizeof(record));
        size_t left = length - at - HEAD_BYTES;
        if (le32toh(record) > left)
            record = htole32((uint32_t)left);
        uint32_t complement = ~record;
        uint64_t checksum = htole64(hash_bytes(bytes + at + HEAD_BYTES, le32toh(record)));
        memcpy(bytes + at, &record, sizeof(record));
        memcpy(bytes + at + 4, &complement, sizeof(complement));
        memcpy(bytes + at + 8, &checksum, sizeof(checksum));
        at += HEAD_BYTES + le32toh(record);
    }
}

static void encode_again(const struct witness *witness, struct buf *out)
{
    buf_init(out, 2 * WITNESS_BYTES_MAX);
    CHECK(witness_encode(witness, out) == OK);
}

static void check_again(const struct witness *witness)
{
    struct witness again;
    struct buf first, second;
    size_t taken;
    encode_again(witness, &first);
    CHECK(witness_decode(first.bytes, first.length, &again, &taken) == OK);
    CHECK(taken == first.length);
    encode_again(&again, &second);
    CHECK(first.length == second.length && memcmp(first.bytes, second.bytes, first.length) == 0);
    witness_done(&again);
    buf_done(&first);
    buf_done(&second);
}

static struct verdicts *make_verdicts(void)
{
    static struct journal_member members[] = {{.worker = 1}, {.worker = 2}};
    struct verdicts *verdicts = verdicts_create();
    struct journal_record record = {.kind = JOURNAL_GENERATION, .generation = {1, 0, 2, members}};
    CHECK(verdicts_add(verdicts, &record) == OK);
    for (uint64_t step = 0; step < STEPS; step++) {
        record = (struct journal_record){.kind = JOURNAL_STEP,
                                         .step = {.step = step,
                                                  .generation = 1,
                                                  .position = step * BATCH,
                                                  .images = BATCH,
                                                  .is_commit = 1}};
        CHECK(verdicts_add(verdicts, &record) == OK);
    }
    return verdicts;
}

static void hear(const struct stream *stream, const struct verdicts *verdicts, const uint8_t *bytes,
                 size_t length)
{
    struct hearing *hearing = hearing_create(stream, verdicts, SLOT_IMAGES);
    struct hearing_result result;
    struct witness witness;
    size_t taken;
    hearing_begin(hearing, 1, "one");
    for (size_t at = 0; witness_decode(bytes + at, length - at, &witness, &taken) == OK;
         at += taken) {
        check_again(&witness);
        hearing_take(hearing, &witness);
        witness_done(&witness);
    }
    hearing_end(hearing, &result);
    hearing_destroy(hearing);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static uint32_t shards[] = {0};
    const struct stream_entry entry = {.shard_count = 1, .shards = shards};
    struct buf mended;
    uint32_t id;
    struct verdicts *verdicts = make_verdicts();
    struct stream *stream =
        stream_create(&(struct stream_setup){.seed = 3, .block_records = 4, .window_blocks = 2});
    CHECK(stream_add_shard(stream, RECORDS, &id) == OK);
    CHECK(stream_append(stream, &entry) == OK);
    buf_init(&mended, length + 1);
    CHECK(buf_append(&mended, bytes, length) == OK);
    hear(stream, verdicts, mended.bytes, mended.length);
    mend(mended.bytes, mended.length);
    hear(stream, verdicts, mended.bytes, mended.length);
    buf_done(&mended);
    stream_destroy(stream);
    verdicts_destroy(verdicts);
    return 0;
}
