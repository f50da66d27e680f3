/* test_helpers_faults.c - mpirun cannot be started, at call 1, 2, 3 ...: the server says why, and
 * neither process, pipe nor scratch folder is left. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "common/fs.h"
#include "common/host.h"
#include "server/helpers.h"
#include "tests/torture/lives.h"

enum { PATIENCE_MS = 10000 };

static enum status check_scratch(const struct helpers *helpers)
{
    char path[HELPER_SCRATCH_BYTES];
    const struct helper_launch launch = {
        .run = helpers->run, .generation = helpers->generation, .nonce = helpers->nonce};
    helper_scratch(&launch, path);
    if (access(path, F_OK) != 0)
        return OK;
    fprintf(stderr, "'%s' was left\n", path);
    _exit(1);
}

/* Until our mpirun has said a word or has ended. */
static enum status await_word(struct helpers *helpers)
{
    struct pollfd polled[] = {{.fd = helpers->output, .events = POLLIN},
                              {.fd = helpers->process, .events = POLLIN}};
    while (helpers->words[0] == 0 && polled[1].revents == 0) {
        if (poll(polled, 2, PATIENCE_MS) == 0)
            return fail(ERR_TIMEOUT, "mpirun says nothing");
        if (polled[0].revents != 0)
            helpers_log(helpers);
        polled[0].fd = helpers->output; /* it may be closed by now */
    }
    return OK;
}

static enum status start_and_stop(void)
{
    struct helpers helpers;
    struct action_helper members[] = {{.address = "@one"}, {.address = "@two"}};
    const struct action action = {
        .kind = ACTION_START_HELPERS,
        .helpers = {.generation = 3, .nonce = host_entropy(), .count = 2, .helpers = members}};
    helpers_init(&helpers, host_entropy());
    enum status status = helpers_start(&helpers, &action);
    if (status == OK) {
        status = await_word(&helpers);
        helpers_stop(&helpers); /* reads what is left */
        if (status == OK && strcmp(helpers.words, "here") != 0)
            status = fail(ERR_IO, "%s", helpers.words);
    }
    lives_spare();
    TRY(check_scratch(&helpers));
    return status;
}

static void helpers_that_cannot_start_leave_nothing_and_a_reason(void **state)
{
    (void)state;
    const struct lives lives = {.live = start_and_stop, .failures_min = 20};
    lives_run(&lives);
}

/* Our own program stands for mpirun: main sees it by its name. */
static void stand_for_mpirun(void)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    puts("here");
    fflush(stdout);
    for (;;)
        pause();
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[0], "mpirun") == 0)
        stand_for_mpirun();
    char folder[] = "/tmp/seer-test-XXXXXX", path[64], self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0 || mkdtemp(folder) == NULL)
        return 1;
    self[length] = 0;
    snprintf(path, sizeof(path), "%s/mpirun", folder);
    if (symlink(self, path) != 0 || setenv("PATH", folder, 1) != 0 ||
        setenv("SEER_HELPER", "/bin/true", 1) != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(helpers_that_cannot_start_leave_nothing_and_a_reason),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    return fs_remove_tree(folder) != OK || failures > 0;
}
