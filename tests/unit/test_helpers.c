/* test_helpers.c - the server's side of mpirun: what it is told, what it leaves behind. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/host.h"
#include "server/helpers.h"

/* Starts whatever is called mpirun in `path`, waits for its end; helpers.words keeps what it said.
 */
static void run_mpirun_of(const char *path, struct helpers *helpers)
{
    struct action_helper member = {.address = "@nobody"};
    struct action action = {
        .kind = ACTION_START_HELPERS,
        .helpers = {.generation = 1, .nonce = host_entropy(), .count = 1, .helpers = &member},
    };
    helpers_init(helpers, host_entropy());
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(setenv("SEER_HELPER", "/bin/true", 1), 0);
    assert_ok(helpers_start(helpers, &action));
    struct pollfd ended = {.fd = helpers->process, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 10000), 1);
    helpers_stop(helpers);
}

static void an_mpirun_that_is_not_installed_is_named_as_the_reason(void **state)
{
    (void)state;
    struct helpers helpers;
    run_mpirun_of("/nonexistent", &helpers);
    assert_non_null(strstr(helpers.words, "install Open MPI"));
}

static void mpirun_asks_for_no_topology_unless_a_person_says_so(void **state)
{
    (void)state;
    static const char script[] = "#!/bin/sh\necho \"components=$HWLOC_COMPONENTS\"\n";
    struct helpers helpers;
    char directory[] = "/tmp/seer-test-XXXXXX", path[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/mpirun", directory);
    int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(file, script, sizeof(script) - 1), sizeof(script) - 1);
    assert_int_equal(close(file), 0);

    assert_int_equal(unsetenv("HWLOC_COMPONENTS"), 0);
    run_mpirun_of(directory, &helpers);
    assert_string_equal(helpers.words, "components=no_os,stop");
    assert_int_equal(setenv("HWLOC_COMPONENTS", "linux", 1), 0);
    run_mpirun_of(directory, &helpers);
    assert_string_equal(helpers.words, "components=linux");

    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_mpirun_that_is_not_installed_is_named_as_the_reason),
        cmocka_unit_test(mpirun_asks_for_no_topology_unless_a_person_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
