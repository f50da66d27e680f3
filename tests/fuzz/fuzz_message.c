/* fuzz_message.c - a message from anyone: refused, or it survives the way back unchanged. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/check.h"
#include "proto/message.h"

/* What was decoded can be said again; bytes are compared, so that a NaN equals itself. */
static void encode_again(const struct message *message, struct buf *out)
{
    buf_init(out, MESSAGE_BYTES_MAX);
    CHECK(message_encode(message, out) == OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct message message, again, copy;
    struct buf first, second, third;
    if (message_decode(bytes, length, &message) != OK)
        return 0;
    encode_again(&message, &first);
    CHECK(message_decode(first.bytes, first.length, &again) == OK);
    encode_again(&again, &second);
    message_copy(&message, &copy);
    message_done(&message);
    encode_again(&copy, &third);
    CHECK(first.length == second.length && memcmp(first.bytes, second.bytes, first.length) == 0);
    CHECK(first.length == third.length && memcmp(first.bytes, third.bytes, first.length) == 0);
    message_done(&again);
    message_done(&copy);
    buf_done(&first);
    buf_done(&second);
    buf_done(&third);
    return 0;
}
