/* test_process_watch.c - whose end is told, and that there is an end to how many are watched. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/host.h"
#include "server/process_watch.h"

enum { END_MS = 20000 };

static void the_end_of_a_process_is_told(void **state)
{
    (void)state;
    struct process_watch watch;
    process_watch_init(&watch);
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    assert_true(pid > 0);
    assert_ok(process_watch_add(&watch, 7, (uint32_t)pid));
    struct pollfd polled = {.fd = watch.items[0].process, .events = POLLIN};
    assert_int_equal(poll(&polled, 1, 0), 0);
    kill(pid, SIGKILL);
    assert_int_equal(poll(&polled, 1, END_MS), 1);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_fails(process_watch_add(&watch, 7, (uint32_t)pid), ERR_END, "is gone");
    assert_int_equal(watch.count, 0);
    process_watch_done(&watch);
}

/* The server's loop has places for so many: members of before and newcomers are watched at once
 * while a run recovers. */
static void no_more_are_watched_than_there_are_places(void **state)
{
    (void)state;
    struct process_watch watch;
    process_watch_init(&watch);
    const uint32_t pid = (uint32_t)getpid();
    host_raise_file_limit();
    for (uint32_t i = 0; i < PROCESS_WATCH_MAX; i++)
        assert_ok(process_watch_add(&watch, i, pid));
    assert_fails(process_watch_add(&watch, PROCESS_WATCH_MAX, pid), ERR_IO, "are watched");
    assert_ok(process_watch_add(&watch, 3, pid)); /* in place of the one before */
    assert_int_equal(watch.count, PROCESS_WATCH_MAX);
    process_watch_remove(&watch, 5);
    assert_ok(process_watch_add(&watch, PROCESS_WATCH_MAX, pid));
    process_watch_done(&watch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_process_is_told),
        cmocka_unit_test(no_more_are_watched_than_there_are_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
