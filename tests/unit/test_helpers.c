/* test_helpers.c - the server's side of mpirun: what it is told, what it leaves behind. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/host.h"
#include "server/helpers.h"

/* Starts whatever is called mpirun in `path`. */
static void start_mpirun_of(const char *path, uint64_t generation, struct helpers *helpers)
{
    struct action_helper member = {.address = "@nobody"};
    struct action action = {
        .kind = ACTION_START_HELPERS,
        .helpers = {.generation = generation,
                    .nonce = host_entropy(),
                    .count = 1,
                    .helpers = &member},
    };
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(setenv("SEER_HELPER", "/bin/true", 1), 0);
    assert_ok(helpers_start(helpers, &action));
}

/* The same, and waits for its end; helpers.words keeps what it said. */
static void run_mpirun_of(const char *path, struct helpers *helpers)
{
    helpers_init(helpers, host_entropy());
    start_mpirun_of(path, 1, helpers);
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

enum { LEFT_MAX = 4 };

struct lefts {
    int count;
    struct helper_left items[LEFT_MAX];
};

static void note_left(void *context, const struct helper_left *left)
{
    struct lefts *lefts = context;
    assert_true(lefts->count < LEFT_MAX);
    lefts->items[lefts->count++] = *left;
}

static int has_scratch(const struct helper_left *left)
{
    char path[HELPER_SCRATCH_BYTES];
    helper_scratch(&left->launch, path);
    return access(path, F_OK) == 0;
}

/* Our own program stands for mpirun: main sees it by its name. */
static void helpers_of_a_server_that_was_killed_are_found_by_the_next(void **state)
{
    (void)state;
    uint64_t run = host_entropy();
    char directory[] = "/tmp/seer-test-XXXXXX", path[64], self[4096];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/mpirun", directory);
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(length > 0);
    self[length] = 0;
    assert_int_equal(symlink(self, path), 0);

    pid_t server = fork();
    if (server == 0) {
        struct helpers helpers[2];
        for (int i = 0; i < 2; i++) {
            helpers_init(&helpers[i], run);
            start_mpirun_of(directory, 6 + (uint64_t)i, &helpers[i]);
            struct pollfd said = {.fd = helpers[i].output, .events = POLLIN};
            poll(&said, 1, 10000); /* then it has become that program */
        }
        kill(getpid(), SIGKILL);
    }
    assert_int_equal(waitpid(server, NULL, 0), server);

    struct lefts lefts = {0};
    helper_each_left(run, note_left, &lefts);
    assert_int_equal(lefts.count, 2);
    int seventh = lefts.items[1].launch.generation == 7;
    assert_int_equal(lefts.items[seventh].launch.generation, 7);
    helper_clean_run(run, &lefts.items[seventh].launch);
    assert_true(has_scratch(&lefts.items[seventh]) && !has_scratch(&lefts.items[!seventh]));
    for (int i = 0; i < 2; i++) {
        struct helpers adopted;
        struct pollfd ended = {.fd = dup(lefts.items[i].process), .events = POLLIN};
        helpers_adopt(&adopted, &lefts.items[i]);
        assert_int_equal(poll(&ended, 1, 0), 0);
        helpers_stop(&adopted);
        assert_int_equal(poll(&ended, 1, 0), 1);
        assert_false(has_scratch(&lefts.items[i]));
        close(ended.fd);
    }
    lefts.count = 0;
    helper_each_left(run, note_left, &lefts);
    assert_int_equal(lefts.count, 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[0], "mpirun") == 0) {
        puts("here");
        fflush(stdout);
        for (;;)
            pause();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_mpirun_that_is_not_installed_is_named_as_the_reason),
        cmocka_unit_test(helpers_of_a_server_that_was_killed_are_found_by_the_next),
        cmocka_unit_test(mpirun_asks_for_no_topology_unless_a_person_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
