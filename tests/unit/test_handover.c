/* test_handover.c - jobs, reports, and what abandoning does to them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>
#include <stdatomic.h>

#include "common/mem.h"
#include "worker/handover.h"

static int is_readable(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 0) == 1;
}

static void order(struct handover *handover, enum member_action_kind kind, uint64_t ticket)
{
    struct member_action action = {.kind = kind, .ticket = ticket, .text = mem_string("words")};
    struct job *job = job_create(&action);
    assert_null(action.text); /* it has passed to the job */
    handover_order(handover, &job);
    assert_null(job); /* and that to the other thread */
}

static void jobs_come_in_order_and_reports_wake_the_link(void **unused)
{
    (void)unused;
    struct handover handover;
    assert_ok(handover_init(&handover));
    order(&handover, MEMBER_FORM, 1);
    order(&handover, MEMBER_COMPUTE, 2);
    for (uint64_t ticket = 1; ticket <= 2; ticket++) {
        struct job *job = handover_job(&handover);
        assert_int_equal(job->action.ticket, ticket);
        assert_ok(handover_check(&handover, job));
        struct report *report = report_create(REPORT_FAILED, ticket);
        report->reason = mem_string("because");
        handover_tell(&handover, &report);
        assert_null(report);
        job_end(&handover, job);
    }
    assert_true(is_readable(handover.report_fd));
    for (uint64_t ticket = 1; ticket <= 2; ticket++) {
        struct report *report = handover_report(&handover);
        assert_non_null(report);
        assert_int_equal(report->ticket, ticket);
        report_destroy(report);
    }
    assert_null(handover_report(&handover));
    handover_done(&handover);
}

static void abandoning_voids_what_was_ordered_before_and_nothing_after(void **unused)
{
    (void)unused;
    struct handover handover;
    assert_ok(handover_init(&handover));
    order(&handover, MEMBER_COMPUTE, 1);
    handover_abandon(&handover);
    order(&handover, MEMBER_FORM, 2);
    struct job *old = handover_job(&handover);
    assert_true(is_readable(handover.cancel_fds[0]));
    assert_fails(handover_check(&handover, old), ERR_STALE, "abandoned");
    assert_true(atomic_load(&handover.running) < atomic_load(&handover.abandoned));
    job_end(&handover, old);
    struct job *form = handover_job(&handover); /* forms anew: its collective is not cancelled */
    assert_false(is_readable(handover.cancel_fds[0]));
    assert_ok(handover_check(&handover, form));
    handover_abandon(&handover); /* while it runs */
    assert_true(is_readable(handover.cancel_fds[0]));
    assert_fails(handover_check(&handover, form), ERR_STALE, "abandoned");
    job_end(&handover, form);
    handover_done(&handover);
}

static void a_flood_of_orders_finds_no_room_instead_of_an_end(void **unused)
{
    (void)unused;
    struct handover handover;
    uint64_t count = 0;
    assert_ok(handover_init(&handover));
    while (handover_has_room(&handover)) /* the most that one word of the server orders */
        for (int i = 0; i < 3; i++)
            order(&handover, MEMBER_FORM, ++count);
    assert_true(count > 8);
    for (int i = 0; i < 3; i++) /* and reports and a drain may still order something */
        order(&handover, MEMBER_EXIT, ++count);
    while (!handover_has_room(&handover))
        job_end(&handover, handover_job(&handover));
    handover_done(&handover);
}

static void what_nobody_took_is_freed(void **unused)
{
    (void)unused;
    struct handover handover;
    assert_ok(handover_init(&handover));
    order(&handover, MEMBER_EXIT, 1);
    struct report *report = report_create(REPORT_FAILED, 1);
    report->reason = mem_string("never read");
    handover_tell(&handover, &report);
    handover_done(&handover);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(jobs_come_in_order_and_reports_wake_the_link),
        cmocka_unit_test(abandoning_voids_what_was_ordered_before_and_nothing_after),
        cmocka_unit_test(a_flood_of_orders_finds_no_room_instead_of_an_end),
        cmocka_unit_test(what_nobody_took_is_freed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
