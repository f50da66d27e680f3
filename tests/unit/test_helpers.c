/* test_helpers.c - the server's side of mpirun: one that cannot run leaves its reason. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>

#include "common/host.h"
#include "server/helpers.h"

static void an_mpirun_that_is_not_installed_is_named_as_the_reason(void **state)
{
    (void)state;
    struct helpers helpers;
    struct action_helper member = {.address = "@nobody"};
    struct action action = {
        .kind = ACTION_START_HELPERS,
        .helpers = {.generation = 1, .nonce = host_entropy(), .count = 1, .helpers = &member},
    };
    helpers_init(&helpers, host_entropy());
    assert_int_equal(setenv("PATH", "/nonexistent", 1), 0);
    assert_int_equal(setenv("SEER_HELPER", "/bin/true", 1), 0);
    assert_ok(helpers_start(&helpers, &action));
    struct pollfd ended = {.fd = helpers.process, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 10000), 1);
    helpers_stop(&helpers);
    assert_non_null(strstr(helpers.words, "install Open MPI"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_mpirun_that_is_not_installed_is_named_as_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
