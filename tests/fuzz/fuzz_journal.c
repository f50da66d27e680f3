/* fuzz_journal.c - any bytes as a journal record: refused, or the same bytes again.
 *
 * The input is the record without its checksum, which is put behind it: no mutation gets past the
 * checksum by itself, and what then decodes must be as careful as if there were none. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <endian.h>
#include <string.h>

#include "common/check.h"
#include "common/hash.h"
#include "server/journal_codec.h"

static void encode_again(const struct journal_record *record, struct buf *out)
{
    buf_init(out, JOURNAL_RECORD_BYTES_MAX);
    CHECK(journal_encode(record, out) == OK);
}

static void decode(const struct buf *value)
{
    struct journal_record record, again, copy;
    struct buf first, second;
    if (journal_decode(value->bytes, value->length, &record) != OK)
        return;
    encode_again(&record, &first);
    CHECK(journal_decode(first.bytes, first.length, &again) == OK);
    journal_record_copy(&again, &copy);
    encode_again(&copy, &second);
    CHECK(first.length == second.length && memcmp(first.bytes, second.bytes, first.length) == 0);
    journal_record_done(&copy);
    journal_record_done(&again);
    journal_record_done(&record);
    buf_done(&second);
    buf_done(&first);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct journal_record record;
    struct buf value;
    if (journal_decode(bytes, length, &record) == OK)
        journal_record_done(&record);
    uint64_t checksum = htole64(hash_bytes(bytes, length));
    buf_init(&value, JOURNAL_RECORD_BYTES_MAX);
    CHECK(buf_append(&value, bytes, length) == OK);
    CHECK(buf_append(&value, &checksum, sizeof(checksum)) == OK);
    decode(&value);
    buf_done(&value);
    return 0;
}
