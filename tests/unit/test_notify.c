/* test_notify.c - what a service manager gets to read, heard on a socket of our own. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/notify.h"

#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A manager at an abstract address, which the kernel chooses. */
static int listen_as_manager(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    socklen_t length = sizeof(address);
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    assert_true(manager >= 0);
    assert_int_equal(bind(manager, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    assert_int_equal(getsockname(manager, (struct sockaddr *)&address, &length), 0);
    char name[sizeof(address.sun_path) + 1] = "@";
    memcpy(name + 1, address.sun_path + 1, length - sizeof(sa_family_t) - 1);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    return manager;
}

static void assert_heard(int manager, const char *words)
{
    char text[512] = "";
    ssize_t length = recv(manager, text, sizeof(text) - 1, 0);
    if (words == NULL) {
        assert_int_equal(length, -1);
        return;
    }
    assert_int_equal(length, strlen(words));
    assert_string_equal(text, words);
}

static void a_manager_hears_each_state_in_order(void **state)
{
    (void)state;
    int manager = listen_as_manager();
    setenv("WATCHDOG_USEC", "1000000", 1);
    notify_start();
    notify_ready();
    notify_status("step %d, loss %.3f", 12, 8.0);
    notify_alive();
    notify_stopping();
    assert_heard(manager, "READY=1");
    assert_heard(manager, "STATUS=step 12, loss 8.000");
    assert_heard(manager, "WATCHDOG=1");
    assert_heard(manager, "STOPPING=1");
    assert_heard(manager, NULL);
    notify_stop();
    close(manager);
}

static void children_do_not_inherit_the_word(void **state)
{
    (void)state;
    int manager = listen_as_manager();
    setenv("WATCHDOG_USEC", "1000000", 1);
    notify_start();
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    notify_stop();
    close(manager);
}

static void nobody_is_told_that_we_live_unless_they_asked_us(void **state)
{
    (void)state;
    int manager = listen_as_manager();
    notify_start();
    notify_alive();
    assert_heard(manager, NULL);
    notify_stop();
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", "1", 1); /* not us */
    close(manager);
    manager = listen_as_manager();
    notify_start();
    notify_alive();
    assert_heard(manager, NULL);
    notify_stop();
    close(manager);
}

static void a_name_with_a_newline_does_not_speak_the_protocol(void **state)
{
    (void)state;
    int manager = listen_as_manager();
    notify_start();
    notify_status("worker %s", "x\nMAINPID=1");
    assert_heard(manager, "STATUS=worker x?MAINPID=1");
    notify_stop();
    close(manager);
}

static void a_deaf_or_absent_manager_is_no_failure(void **state)
{
    (void)state;
    int manager = listen_as_manager();
    notify_start();
    for (int i = 0; i < 10000; i++) /* more than any queue holds */
        notify_status("%d", i);
    assert_heard(manager, "STATUS=0");
    close(manager);
    notify_ready();
    notify_stop();
    static const char *const wrong[] = {"/nonexistent/socket", "relative", "", "@"};
    for (int i = 0; i < 4; i++) {
        setenv("NOTIFY_SOCKET", wrong[i], 1);
        notify_start();
        notify_ready();
        notify_stop();
    }
    notify_start(); /* nothing in the environment */
    notify_ready();
    notify_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manager_hears_each_state_in_order),
        cmocka_unit_test(children_do_not_inherit_the_word),
        cmocka_unit_test(nobody_is_told_that_we_live_unless_they_asked_us),
        cmocka_unit_test(a_name_with_a_newline_does_not_speak_the_protocol),
        cmocka_unit_test(a_deaf_or_absent_manager_is_no_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
