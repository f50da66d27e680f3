/* fuzz_record.c - any value of a shard as a Datum: refused, or within its bytes and the same again.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/check.h"
#include "loader/record.h"

/* Raw pixels are all there; what is encoded is the same as without them. */
static void decode_any(const uint8_t *bytes, size_t length)
{
    struct record any, record;
    int channels;
    enum status status = record_decode_any(bytes, length, &any, &channels);
    if (status != OK || channels == 0) {
        CHECK((record_decode(bytes, length, &record) == OK) == (status == OK));
        return;
    }
    CHECK(channels == 1 || channels == RECORD_CHANNELS);
    CHECK(any.bytes >= bytes && any.bytes + any.length <= bytes + length);
    CHECK((uint64_t)any.width * (uint64_t)any.height * (uint64_t)channels == any.length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct record record, again;
    struct buf packed;
    decode_any(bytes, length);
    if (record_decode(bytes, length, &record) != OK)
        return 0;
    CHECK(record.bytes >= bytes && record.bytes + record.length <= bytes + length);
    buf_init(&packed, RECORD_BYTES_MAX + 64);
    CHECK(record_encode(&record, &packed) == OK);
    CHECK(record_decode(packed.bytes, packed.length, &again) == OK);
    CHECK(again.length == record.length && again.label == record.label);
    CHECK(memcmp(again.bytes, record.bytes, record.length) == 0);
    CHECK(record.width <= 0 || (again.width == record.width && again.height == record.height));
    buf_done(&packed);
    return 0;
}
