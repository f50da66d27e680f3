/* fuzz_config.c - any text as a config: refused, or printed and read back to the same values. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/check.h"
#include "common/config.h"

enum { PRINTED_BYTES_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct config config, again;
    struct buf printed, printed_again;
    config_init(&config);
    if (config_load_text("fuzz", bytes, length, &config) != OK)
        return 0;
    buf_init(&printed, PRINTED_BYTES_MAX);
    buf_init(&printed_again, PRINTED_BYTES_MAX);
    CHECK(config_print(&config, &printed) == OK);
    config_init(&again);
    CHECK(config_load_text("printed", printed.bytes, printed.length, &again) == OK);
    CHECK(config_print(&again, &printed_again) == OK);
    CHECK(strcmp((char *)printed.bytes, (char *)printed_again.bytes) == 0);
    CHECK(config_fingerprint(&config) == config_fingerprint(&again));
    buf_done(&printed);
    buf_done(&printed_again);
    return 0;
}
