/* test_admission.c - who may come in, who is lost, who is sent away. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

/* Time in which only this worker is heard. */
static void heartbeats(struct fixture *f, uint64_t id, int64_t ms)
{
    for (int64_t end = f->now + ms; f->now < end; tick(f, COORDINATOR_TICK_MS))
        say(f, id, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat = {.is_warm = 1}}, 0);
}

static void workers_that_do_not_fit_are_refused_for_good(void **state)
{
    struct fixture *f = *state;
    hello(f, 1, PROTOCOL_VERSION + 1, 0);
    int reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    assert_true(f->actions.items[reject].send.message.reject.is_final);
    hello(f, 2, PROTOCOL_VERSION, 12345);
    reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    assert_non_null(strstr(f->actions.items[reject].send.message.reject.reason, "config"));
}

static void hello_of(struct fixture *f, uint64_t id, uint32_t newest, uint32_t oldest)
{
    say(f, id,
        (struct message){.kind = MESSAGE_HELLO,
                         .hello = {.protocol = newest,
                                   .protocol_oldest = oldest,
                                   .name = "w",
                                   .version = "0.0.1",
                                   .boot = 5,
                                   .pid = (uint32_t)id}},
        0);
}

static const char *objection_to(struct fixture *f, uint32_t newest, uint32_t oldest)
{
    hello_of(f, 99, newest, oldest);
    return f->actions.items[find(f, ACTION_SEND, MESSAGE_REJECT)].send.message.reject.reason;
}

static void workers_of_other_versions_agree_on_a_protocol_or_are_told_who_is_too_old(void **state)
{
    struct fixture *f = *state;
    enum { NEWEST = PROTOCOL_VERSION, OLDEST = PROTOCOL_VERSION_OLDEST };
    static const uint32_t cases[][3] = {{NEWEST, 0, NEWEST},          {NEWEST + 3, OLDEST, NEWEST},
                                        {OLDEST, 0, OLDEST},          {OLDEST, OLDEST - 1, OLDEST},
                                        {NEWEST + 2, NEWEST, NEWEST}, {NEWEST, NEWEST, NEWEST}};
    for (uint64_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        hello_of(f, i + 1, cases[i][0], cases[i][1]);
        const int welcome = find(f, ACTION_SEND, MESSAGE_WELCOME);
        assert_int_equal(f->actions.items[welcome].send.message.welcome.protocol, cases[i][2]);
    }
    assert_non_null(strstr(objection_to(f, OLDEST - 1, 1), "upgrade the worker"));
    assert_non_null(strstr(objection_to(f, NEWEST + 2, NEWEST + 1), "upgrade the server"));
    assert_non_null(strstr(objection_to(f, NEWEST + 1, 0), "upgrade the server"));
}

/* So that it can rehearse just that before others wait for it. */
static void a_newcomer_hears_how_many_slots_it_may_expect(void **state)
{
    struct fixture *f = *state;
    hello(f, 1, PROTOCOL_VERSION, 0);
    assert_int_equal(find_sent(f, 1, MESSAGE_WELCOME)->welcome.slots, 0); /* nobody trains yet */
    train(f, 2);
    hello(f, 3, PROTOCOL_VERSION, 0);
    assert_int_equal(find_sent(f, 3, MESSAGE_WELCOME)->welcome.slots, 2); /* of 4, among 3 */
}

static void two_workers_of_one_name_get_two_names(void **state)
{
    struct fixture *f = *state;
    hello(f, 1, PROTOCOL_VERSION, 0);
    hello(f, 2, PROTOCOL_VERSION, 0);
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    assert_string_equal(view.roster->workers[0].name, "w");
    assert_string_equal(view.roster->workers[1].name, "w-2");
}

static void who_is_not_known_is_asked_for_a_hello(void **state)
{
    struct fixture *f = *state;
    say(f, 44, (struct message){.kind = MESSAGE_HEARTBEAT}, 0);
    int reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    assert_false(f->actions.items[reject].send.message.reject.is_final);
}

static void a_server_that_slept_blames_nobody(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    f->now += 3600 * 1000;
    handle(f, (struct coordinator_event){.kind = COORDINATOR_TICK});
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 2);
    assert_non_null(strstr(event_text(f, "standstill"), "culprit=\"server\""));
}

static void a_silence_of_all_at_once_is_the_servers_own_until_it_lasts_long(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    int told = 0;
    train(f, 2);
    for (int64_t ms = 0; ms < 5 * f->config.server.lost_ms; ms += COORDINATOR_TICK_MS) {
        tick(f, COORDINATOR_TICK_MS);
        told += strstr(event_text(f, "standstill"), "culprit=\"server or network\"") != NULL;
    }
    assert_int_equal(told, 1);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 2);
    heartbeats(f, 1, f->config.server.lost_ms - 200); /* so the other is silent alone */
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 2);
    heartbeats(f, 1, 400);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 1);
    tick(f, 20 * f->config.server.lost_ms);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 0);
}

static void who_is_gone_is_lost_however_often_the_others_fall_silent(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    int lost = 0;
    f->config.server.step_ms = f->config.server.form_ms = 600000; /* nobody trains */
    train(f, 3);
    for (int64_t ms = 0; ms < 10 * f->config.server.lost_ms; ms += COORDINATOR_TICK_MS) {
        if (ms % 1200 == 0) {
            warm(f, 1);
            warm(f, 2);
        }
        tick(f, COORDINATOR_TICK_MS);
        lost += event_text(f, "worker_lost")[0] != 0;
    }
    assert_int_equal(lost, 1);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 2);
}

/* It was cut off, and its Hello is still under way when its time is over. */
static void who_is_heard_on_a_new_connection_is_not_lost(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    const struct message heartbeat = {.kind = MESSAGE_HEARTBEAT,
                                      .header = {.worker = 1, .sequence = 1000}};
    train(f, 2);
    heartbeats(f, 2, f->config.server.lost_ms - 500);
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_MESSAGE, .connection = 99, .message = &heartbeat});
    assert_true(find(f, ACTION_SEND, MESSAGE_REJECT) >= 0);
    heartbeats(f, 2, 1000);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 2);
}

static void who_is_evicted_is_out_at_once_and_for_good(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    order(f, COMMAND_EVICT, "w-2");
    int journal = find(f, ACTION_JOURNAL, JOURNAL_DISCHARGE);
    int reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    assert_true(journal >= 0 && journal < reject);
    assert_true(find(f, ACTION_SEND, MESSAGE_REGROUP) > reject);
    struct journal_record kept;
    journal_record_copy(&f->actions.items[journal].record, &kept);
    order(f, COMMAND_EVICT, "w-2"); /* again: the same answer, no other effect */
    int reply = find(f, ACTION_SEND, MESSAGE_REPLY);
    assert_string_equal(f->actions.items[reply].send.message.reply.body,
                        "{\"worker\":\"0000000000000002\"}");
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_DISCHARGE), -1);
    hello(f, 2, PROTOCOL_VERSION, 0);
    reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    assert_true(reject >= 0 && f->actions.items[reject].send.message.reject.is_final);
    order(f, COMMAND_EVICT, "nobody");
    reply = find(f, ACTION_SEND, MESSAGE_REPLY);
    assert_int_equal(f->actions.items[reply].send.message.reply.status, ERR_INPUT);

    /* A server that starts again knows. */
    coordinator_destroy(f->coordinator);
    make(f);
    assert_ok(coordinator_restore(f->coordinator, &kept));
    coordinator_start(f->coordinator, f->now, &f->actions);
    hello(f, 2, PROTOCOL_VERSION, 0);
    assert_true(find(f, ACTION_SEND, MESSAGE_REJECT) >= 0);
    journal_record_done(&kept);
}

static void who_drains_still_drains_when_the_server_starts_again(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    order(f, COMMAND_DRAIN, "w");
    int journal = find(f, ACTION_JOURNAL, JOURNAL_DISCHARGE);
    assert_true(journal >= 0);
    struct journal_record kept;
    journal_record_copy(&f->actions.items[journal].record, &kept);
    coordinator_destroy(f->coordinator);
    make(f);
    assert_ok(coordinator_restore(f->coordinator, &kept));
    coordinator_start(f->coordinator, f->now, &f->actions);
    hello(f, 1, PROTOCOL_VERSION, 0);
    assert_true(find(f, ACTION_SEND, MESSAGE_DISMISS) >= 0);
    journal_record_done(&kept);
}

/* Two workers are dismissed; the first has said bye. */
static void finish(struct fixture *f)
{
    train(f, 2);
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_COMMAND,
                  .command = {.command = COMMAND_STOP, .request = 1, .argument = ""}});
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 3, 1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE,
                                         .snapshot = {"step-000000001", 1}});
    assert_true(find(f, ACTION_SEND, MESSAGE_DISMISS) >= 0);
    assert_int_equal(find(f, ACTION_FINISHED, 0), -1); /* the dismissals may be under way still */
    say(f, 1, (struct message){.kind = MESSAGE_BYE}, 1);
    assert_int_equal(find(f, ACTION_FINISHED, 0), -1);
}

static void a_finished_run_ends_when_everybody_said_bye(void **state)
{
    struct fixture *f = *state;
    finish(f);
    say(f, 1, (struct message){.kind = MESSAGE_HEARTBEAT}, 2);
    assert_int_equal(find(f, ACTION_FINISHED, 0), -1);
    hello(f, 2, PROTOCOL_VERSION, 0); /* it was cut off before it heard */
    assert_true(find(f, ACTION_SEND, MESSAGE_DISMISS) >= 0);
    say(f, 2, (struct message){.kind = MESSAGE_BYE}, 2);
    assert_true(find(f, ACTION_FINISHED, 0) >= 0);
    tick(f, 10000);
    assert_int_equal(find(f, ACTION_FINISHED, 0), -1); /* once is enough */
}

static void a_finished_run_does_not_wait_for_the_dead(void **state)
{
    struct fixture *f = *state;
    finish(f);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 2});
    assert_true(find(f, ACTION_FINISHED, 0) >= 0);
}

static void a_finished_run_does_not_wait_for_ever(void **state)
{
    struct fixture *f = *state;
    finish(f);
    tick(f, 1900);
    assert_int_equal(find(f, ACTION_FINISHED, 0), -1);
    tick(f, 100);
    assert_true(find(f, ACTION_FINISHED, 0) >= 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(workers_that_do_not_fit_are_refused_for_good),
        coordinator_test(workers_of_other_versions_agree_on_a_protocol_or_are_told_who_is_too_old),
        coordinator_test(a_newcomer_hears_how_many_slots_it_may_expect),
        coordinator_test(two_workers_of_one_name_get_two_names),
        coordinator_test(who_is_not_known_is_asked_for_a_hello),
        coordinator_test(a_server_that_slept_blames_nobody),
        coordinator_test(a_silence_of_all_at_once_is_the_servers_own_until_it_lasts_long),
        coordinator_test(who_is_gone_is_lost_however_often_the_others_fall_silent),
        coordinator_test(who_is_heard_on_a_new_connection_is_not_lost),
        coordinator_test(who_is_evicted_is_out_at_once_and_for_good),
        coordinator_test(who_drains_still_drains_when_the_server_starts_again),
        coordinator_test(a_finished_run_ends_when_everybody_said_bye),
        coordinator_test(a_finished_run_does_not_wait_for_the_dead),
        coordinator_test(a_finished_run_does_not_wait_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
