/* fuzz.h - the entry of a fuzz target, as libFuzzer calls it.
 *
 * A target takes any bytes and returns 0; what it must never do is crash, leak, hang, or come to
 * another answer for the same value (CHECK). */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#endif
