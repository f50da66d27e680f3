/* test.h - cmocka as every C test of ours includes it.
 *
 * cmocka's fail() would hide the one of common/status.h; fail_msg() remains. Exit 77 (test_skip)
 * tells ctest that a test cannot run here, with the reason. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#undef fail
/* cmocka's own expands to its fail(). */
#undef fail_msg
#define fail_msg(...)                                                                              \
    do {                                                                                           \
        print_error("ERROR: " __VA_ARGS__);                                                        \
        print_error("\n");                                                                         \
        _fail(__FILE__, __LINE__);                                                                 \
    } while (0)

#include "common/status.h"

/* Asserts that a call returns OK and shows its words otherwise. */
#define assert_ok(call)                                                                            \
    do {                                                                                           \
        enum status assert_status_ = (call);                                                       \
        if (assert_status_ != OK)                                                                  \
            fail_msg("%s: %s: %s", #call, status_name(assert_status_), fail_message());            \
    } while (0)

/* Asserts that a call returns this status and that its words contain `words`. */
#define assert_fails(call, expected, words)                                                        \
    do {                                                                                           \
        assert_int_equal((call), (expected));                                                      \
        if (strstr(fail_message(), (words)) == NULL)                                               \
            fail_msg("%s: the message lacks \"%s\": %s", #call, (words), fail_message());          \
    } while (0)

/* Between two looks at what another thread does. */
static inline void test_rest(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static inline void test_skip(const char *reason)
{
    printf("skipped: %s\n", reason);
    exit(77);
}

#endif
