/* test_formation.c - when a generation is formed, and who is why it is not. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

#include "server/core.h"

static void a_run_begins_when_those_who_came_are_warm(void **state)
{
    struct fixture *f = *state;
    hello(f, 1, PROTOCOL_VERSION, 0);
    hello(f, 2, PROTOCOL_VERSION, 0);
    tick(f, 1000);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REGROUP), -1); /* forming would wait for them */
    warm(f, 1);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REGROUP), -1); /* nor is one left behind */
    warm(f, 2);
    assert_int_equal(find_sent(f, 1, MESSAGE_REGROUP)->regroup.member_count, 2);
}

static void nobody_waits_for_the_first_step_of_another(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    hello(f, 3, PROTOCOL_VERSION, 0);
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 3, 1);
    tick(f, 1000);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_PREPARE), -1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 2});
    assert_int_equal(find_sent(f, 1, MESSAGE_REGROUP)->regroup.member_count, 1);
    say(f, 1, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = 9}}, 1);
    vote(f, 1, 1, 3, 1);
    warm(f, 3);
    await_prepare(f);
    assert_int_equal(find_sent(f, 3, MESSAGE_PREPARE)->prepare.rank, 1);
}

/* Two workers have come, are warm and are told to form. */
static void begin_forming(struct fixture *f)
{
    hello(f, 1, PROTOCOL_VERSION, 0);
    warm(f, 1);
    hello(f, 2, PROTOCOL_VERSION, 0);
    warm(f, 2);
    assert_true(await(f, ACTION_SEND, MESSAGE_REGROUP, 20 * COORDINATOR_TICK_MS) >= 0);
}

/* Of those who did not form in time only the one who did nothing goes; the others wait for it. */
static void who_did_nothing_is_why_a_generation_does_not_form(void **state)
{
    struct fixture *f = *state;
    begin_forming(f);
    int reject = -1;
    for (uint64_t progress = 1; reject < 0 && progress < 1000; progress++) {
        const struct message dead = {.kind = MESSAGE_HEARTBEAT, .heartbeat.is_warm = 1};
        const struct message alive = {
            .kind = MESSAGE_HEARTBEAT,
            .heartbeat = {.is_warm = 1, .progress = progress < 20 ? progress : 20}};
        if (progress == 30)
            hello(f, 1, PROTOCOL_VERSION, 0); /* connects again, and does nothing */
        say(f, 1, dead, 0);
        say(f, 2, alive, 0);
        tick(f, COORDINATOR_TICK_MS);
        reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    }
    assert_true(reject >= 0);
    assert_int_equal(f->actions.items[reject].send.message.header.worker, 1);
    tick(f, COORDINATOR_TICK_MS);
    say(f, 2, (struct message){.kind = MESSAGE_HEARTBEAT}, 0);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REJECT), -1); /* still welcome */
}

/* Both wait as long as they may; what they say then goes with `broken` and `helper_ms` of each. Who
 * is said to have held it up; *ret_reject: to whom a Reject goes, 0 = nobody. */
static const char *form_in_vain(struct fixture *f, const int broken[2], const int64_t helper_ms[2],
                                uint64_t *ret_reject)
{
    begin_forming(f);
    for (int64_t ms = 0; event_text(f, "standstill")[0] == 0; ms += COORDINATOR_TICK_MS) {
        assert_true(ms < 2 * f->config.server.form_ms);
        for (uint64_t id = 1; id <= 2; id++) {
            struct message heartbeat = {.kind = MESSAGE_HEARTBEAT, .heartbeat.is_warm = 1};
            if (ms > f->config.server.form_ms)
                heartbeat.heartbeat.helper_ms = helper_ms[id - 1];
            if (ms == f->config.server.form_ms + COORDINATOR_TICK_MS && broken[id - 1])
                say(f, id, (struct message){.kind = MESSAGE_BROKEN}, 0);
            say(f, id, heartbeat, 0);
        }
        tick(f, COORDINATOR_TICK_MS);
    }
    int reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    *ret_reject = reject < 0 ? 0 : f->actions.items[reject].send.message.header.worker;
    assert_true(reject < 0 || f->actions.items[reject].send.message.reject.is_accident);
    return event_text(f, "standstill");
}

static void who_neither_forms_nor_gives_up_is_named_and_replaced(void **state)
{
    uint64_t reject;
    const char *said = form_in_vain(*state, (int[]){1, 0}, (int64_t[]){0, 0}, &reject);
    assert_non_null(strstr(said, "culprit=\"w-2\""));
    assert_int_equal(reject, 2);
}

static void a_helper_that_never_calls_is_named_and_nobody_is_sent_away(void **state)
{
    struct fixture *f = *state;
    uint64_t reject;
    const char *said =
        form_in_vain(f, (int[]){1, 1}, (int64_t[]){0, f->config.server.form_ms}, &reject);
    assert_non_null(strstr(said, "culprit=\"helper of w-2\""));
    assert_int_equal(reject, 0);
}

static void if_no_helper_calls_it_is_mpirun_or_one_of_them(void **state)
{
    struct fixture *f = *state;
    uint64_t reject;
    int64_t form_ms = f->config.server.form_ms;
    const char *said = form_in_vain(f, (int[]){1, 1}, (int64_t[]){form_ms, form_ms}, &reject);
    assert_non_null(strstr(said, "culprit=\"mpirun or a helper\""));
    assert_int_equal(reject, 0);
}

/* The server's clock forgives its own gaps, members' clocks do not: they give up, and with them
 * their helpers, while it thinks that they still have time. Neither is why the generation did not
 * form. */
static void who_gives_up_after_a_gap_of_the_servers_is_not_the_reason(void **state)
{
    struct fixture *f = *state;
    begin_forming(f);
    const uint64_t generation = find_sent(f, 1, MESSAGE_REGROUP)->header.generation;
    f->now += CORE_GAP_MS + 1; /* nothing was handled meanwhile */
    for (int64_t ms = CORE_GAP_MS + 1; ms < f->config.server.form_ms; ms += COORDINATOR_TICK_MS) {
        say(f, 1, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat.is_warm = 1}, 0);
        say(f, 2, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat.is_warm = 1}, 0);
        tick(f, COORDINATOR_TICK_MS);
    }
    handle(f, (struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED,
                                         .generation = generation,
                                         .reason = "mpirun ended"});
    assert_string_equal(event_text(f, "generation_ended"), "");
    say(f, 1, (struct message){.kind = MESSAGE_BROKEN}, 0);
    assert_string_equal(event_text(f, "generation_ended"), "");
    for (int i = 0; event_text(f, "standstill")[0] == 0 && i < 100; i++) {
        say(f, 1, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat.is_warm = 1}, 0);
        say(f, 2, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat.is_warm = 1}, 0);
        tick(f, COORDINATOR_TICK_MS);
    }
    assert_non_null(strstr(event_text(f, "standstill"), "culprit=\"w-2\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(a_run_begins_when_those_who_came_are_warm),
        coordinator_test(nobody_waits_for_the_first_step_of_another),
        coordinator_test(who_did_nothing_is_why_a_generation_does_not_form),
        coordinator_test(who_neither_forms_nor_gives_up_is_named_and_replaced),
        coordinator_test(a_helper_that_never_calls_is_named_and_nobody_is_sent_away),
        coordinator_test(if_no_helper_calls_it_is_mpirun_or_one_of_them),
        coordinator_test(who_gives_up_after_a_gap_of_the_servers_is_not_the_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
