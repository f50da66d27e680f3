/* test_preparation.c - a collective in waiting: taken over, dropped, replaced, abandoned. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/mem.h"
#include "worker/collective/helper.h"
#include "worker/preparation.h"

enum { PATIENCE_MS = 20000, RUN = 5, NONCE = 6 };

struct fixture {
    struct config config;
    struct state state;
    struct handover handover;
    struct preparation preparation;
    float block[4];
    struct helper_door door;
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    *f = (struct fixture){0};
    config_init(&f->config);
    f->state.block = f->block;
    f->state.bytes = sizeof(f->block);
    f->state.fd = STDIN_FILENO; /* nobody comes to ask for it */
    assert_ok(helper_door_open(&f->door));
    assert_ok(handover_init(&f->handover));
    const struct group_means means = {.config = &f->config,
                                      .state = &f->state,
                                      .handover = &f->handover,
                                      .listen_fd = f->door.listen_fd};
    assert_ok(preparation_start(&f->preparation, &means));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    preparation_stop(&f->preparation);
    handover_done(&f->handover);
    helper_door_close(&f->door);
    return 0;
}

static void prepare(struct fixture *f, enum collective_engine engine, uint64_t generation)
{
    struct message_member *self = mem_array(1, sizeof(*self));
    struct member_action action = {
        .kind = MEMBER_PREPARE,
        .ticket = generation,
        .message =
            {.kind = MESSAGE_PREPARE,
             .header = {.run = RUN, .generation = generation},
             .prepare = {.engine = engine, .nonce = NONCE, .member_count = 1, .members = self}},
    };
    struct job *job = job_create(&action);
    handover_prepare(&f->handover, &job);
    assert_null(job);
}

static void await(struct fixture *f, enum report_kind kind, uint64_t ticket)
{
    struct pollfd polled = {.fd = f->handover.report_fd, .events = POLLIN};
    struct report *report = handover_report(&f->handover);
    while (report == NULL) {
        assert_int_equal(poll(&polled, 1, PATIENCE_MS), 1);
        report = handover_report(&f->handover);
    }
    assert_int_equal(report->kind, kind);
    assert_int_equal(report->ticket, ticket);
    report_destroy(report);
}

static void what_stands_is_taken_once_and_by_its_own_name(void **state)
{
    struct fixture *f = *state;
    struct collective *collective = NULL;
    prepare(f, COLLECTIVE_SELF, 2);
    await(f, REPORT_PREPARED, 2);
    assert_fails(preparation_take(&f->preparation, 3, NONCE, &collective), ERR_STALE, "3");
    assert_fails(preparation_take(&f->preparation, 2, NONCE + 1, &collective), ERR_STALE, "2");
    assert_ok(preparation_take(&f->preparation, 2, NONCE, &collective));
    assert_int_equal(collective_size(collective), 1);
    collective_destroy(collective);
    assert_fails(preparation_take(&f->preparation, 2, NONCE, &collective), ERR_STALE, "2");
}

/* No helper will ever call: only these ends let it go before form_ms. */
static void a_forming_ends_when_it_is_replaced_or_abandoned(void **state)
{
    struct fixture *f = *state;
    struct collective *collective = NULL;
    prepare(f, COLLECTIVE_MPI, 2);
    prepare(f, COLLECTIVE_MPI, 3);
    await(f, REPORT_PREPARE_FAILED, 2);
    handover_abandon(&f->handover);
    await(f, REPORT_PREPARE_FAILED, 3);
    preparation_drop(&f->preparation);
    prepare(f, COLLECTIVE_SELF, 4);
    await(f, REPORT_PREPARED, 4);
    preparation_drop(&f->preparation);
    assert_fails(preparation_take(&f->preparation, 4, NONCE, &collective), ERR_STALE, "4");
}

/* A present collective and the one prepared beside it are cancelled by different descriptors; when
 * the second takes over, the same abandonment still finds it. */
static void a_generation_that_took_over_is_abandoned_by_its_own_side(void **state)
{
    struct fixture *f = *state;
    struct member_action form = {.kind = MEMBER_FORM, .takes_over = 1};
    int first = f->handover.present;
    prepare(f, COLLECTIVE_SELF, 2);
    await(f, REPORT_PREPARED, 2);
    struct job *job = job_create(&form);
    handover_order(&f->handover, &job);
    assert_int_equal(f->handover.present, !first);
    job = handover_job(&f->handover);
    assert_int_equal(job->side, !first);
    assert_ok(handover_check(&f->handover, job));
    struct pollfd polled = {.fd = f->handover.cancel_fds[job->side], .events = POLLIN};
    handover_abandon(&f->handover);
    assert_int_equal(poll(&polled, 1, 0), 1);
    assert_fails(handover_check(&f->handover, job), ERR_STALE, "abandoned");
    job_end(&f->handover, job);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_stands_is_taken_once_and_by_its_own_name, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_forming_ends_when_it_is_replaced_or_abandoned, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_generation_that_took_over_is_abandoned_by_its_own_side,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
