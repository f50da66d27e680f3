/* test_recovery.c - what a server that starts again knows, and for whom it waits. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

/* Starts again with a journal in which workers 1 and 2 are the members. */
static void restart_with_two_members(struct fixture *f)
{
    struct journal_member members[] = {{1, "w", 5, 1}, {2, "w-2", 5, 2}};
    const struct journal_record record = {.kind = JOURNAL_GENERATION,
                                          .generation = {3, 0, 2, members}};
    coordinator_destroy(f->coordinator);
    make(f);
    assert_ok(coordinator_restore(f->coordinator, &record));
    actions_clear(&f->actions);
    coordinator_start(f->coordinator, f->now, &f->actions);
}

static void say_hello_with_state(struct fixture *f, uint64_t id)
{
    say(f, id,
        (struct message){.kind = MESSAGE_HELLO,
                         .hello = {.protocol = PROTOCOL_VERSION,
                                   .name = "w",
                                   .version = EVERSEER_VERSION,
                                   .has_state = 1}},
        0);
}

static void a_restarted_server_does_not_wait_for_the_dead(void **state)
{
    struct fixture *f = *state;
    restart_with_two_members(f);
    int watch = find(f, ACTION_WATCH, 0);
    assert_true(watch >= 0);
    assert_int_equal(f->actions.items[watch].watch.pid, 1);
    assert_int_equal(f->actions.items[watch + 1].watch.worker, 2);
    say_hello_with_state(f, 1);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REGROUP), -1); /* the other may still come */
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 2});
    int event = find(f, ACTION_EVENT, 0);
    assert_string_equal(f->actions.items[event].event.kind, "worker_gone");
    assert_true(find(f, ACTION_UNWATCH, 0) >= 0);
    assert_true(find(f, ACTION_SEND, MESSAGE_REGROUP) >= 0);
}

static void a_restarted_server_does_not_wait_for_one_that_came_and_died(void **state)
{
    struct fixture *f = *state;
    restart_with_two_members(f);
    say_hello_with_state(f, 1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 1});
    say_hello_with_state(f, 2);
    assert_true(find(f, ACTION_SEND, MESSAGE_REGROUP) >= 0);
}

/* Says Hello as a member of the generation that the journal knows. */
static void return_to(struct fixture *f, uint64_t id, uint64_t generation)
{
    const struct message message = {
        .kind = MESSAGE_HELLO,
        .header = {.generation = generation, .worker = id, .sequence = ++f->sequence},
        .hello = {.protocol = PROTOCOL_VERSION,
                  .name = "w",
                  .version = EVERSEER_VERSION,
                  .has_state = 1}};
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_MESSAGE, .connection = id, .message = &message});
}

static void a_restarted_server_goes_on_with_the_generation_whose_members_return(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    restart_with_two_members(f);
    return_to(f, 1, 3);
    return_to(f, 2, 3);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.world_size, 2);
    assert_int_equal(view.generation, 3);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REGROUP), -1);
}

static void a_restarted_server_forms_anew_when_the_helpers_are_gone(void **state)
{
    struct fixture *f = *state;
    restart_with_two_members(f);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED, .generation = 3});
    return_to(f, 1, 3);
    return_to(f, 2, 3);
    assert_true(find(f, ACTION_SEND, MESSAGE_REGROUP) >= 0);
}

static void a_stop_that_an_operator_ordered_outlives_the_server(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    order(f, COMMAND_STOP, "");
    int record = find(f, ACTION_JOURNAL, JOURNAL_STOP);
    assert_true(record >= 0 && record < find(f, ACTION_SEND, MESSAGE_REPLY));
    assert_true(f->actions.items[record].record.stop.is_stopping);
    order(f, COMMAND_STOP, "");
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STOP), -1);
    assert_int_equal(answer(f)->reply.status, OK);
    restart(f);
    /* Workers of before may still come: they hold the state. */
    assert_int_equal(await(f, ACTION_FINISHED, 0, 2 * f->config.server.lost_ms - 100), -1);
    record = await(f, ACTION_JOURNAL, JOURNAL_STOP, 200);
    assert_true(record >= 0 && !f->actions.items[record].record.stop.is_stopping);
    assert_true(find(f, ACTION_FINISHED, 0) >= 0);
    restart(f); /* it has ended: the next start goes on */
    assert_int_equal(await(f, ACTION_FINISHED, 0, 3 * f->config.server.lost_ms), -1);
}

/* Ticks until the server is told to begin again, or the journal is rolled back: which of them? */
static enum action_kind await_last_resort(struct fixture *f)
{
    for (int64_t end = f->now + 3 * f->config.server.lost_ms; f->now < end;) {
        f->now += COORDINATOR_TICK_MS;
        warm(f, 2);
        if (find(f, ACTION_RESTART, 0) >= 0)
            return ACTION_RESTART;
        if (find(f, ACTION_JOURNAL, JOURNAL_ROLLBACK) >= 0)
            return ACTION_JOURNAL;
    }
    return ACTION_FINISHED;
}

/* What is before the oldest snapshot is forgotten of the stream. With the last snapshot gone and
 * nobody left, the run has to begin anew, and only the journal knows with which images. */
static void a_run_that_lost_all_it_had_begins_anew_after_reading_its_journal(void **state)
{
    struct fixture *f = *state;
    enum { STEPS = 30 };
    train(f, 1);
    for (uint64_t step = 0; step < STEPS; step++) {
        vote(f, 1, step, 3, 1);
        if (step == STEPS / 3) /* a second entry of the stream */
            handle(f, (struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND,
                                                 .shard = {.path = "store/b", .records = 1000}});
    }
    save(f, STEPS, "best");
    vote(f, 1, STEPS + 1, 3, 1);
    order(f, COMMAND_REMOVE, "best");
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 1});
    hello(f, 2, PROTOCOL_VERSION, 0);
    warm(f, 2);
    assert_int_equal(await_last_resort(f), ACTION_RESTART);
    restart(f);
    tick(f, 3 * f->config.server.lost_ms); /* worker 1 might have come back */
    hello(f, 2, PROTOCOL_VERSION, 0);
    warm(f, 2);
    assert_int_equal(await_last_resort(f), ACTION_JOURNAL);
}

static void a_restart_with_other_mathematics_is_told(void **state)
{
    struct fixture *f = *state;
    restart(f);
    assert_string_equal(event_text(f, "config_changed"), "");
    assert_int_equal(f->journal.items[0].record.kind, JOURNAL_START);
    for (uint32_t i = 0; i < f->journal.count; i++)
        if (f->journal.items[i].record.kind == JOURNAL_START)
            f->journal.items[i].record.start.fingerprint++;
    restart(f);
    assert_non_null(strstr(event_text(f, "config_changed"), "step=0 was="));
}

static void a_journal_of_another_batch_size_is_refused_with_the_remedy(void **state)
{
    struct fixture *f = *state;
    struct journal_record record = {.kind = JOURNAL_START,
                                    .start = {.run = 1, .batch_images = 16, .slot_images = 2}};
    struct coordinator *other =
        coordinator_create(&(struct coordinator_setup){.config = &f->config, .config_text = ""});
    assert_fails(coordinator_restore(other, &record), ERR_INPUT, "train.batch_images");
    record = (struct journal_record){.kind = JOURNAL_STEP, .step = {.step = 3}};
    assert_fails(coordinator_restore(other, &record), ERR_CORRUPT, "step 3");
    coordinator_destroy(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(a_restarted_server_does_not_wait_for_the_dead),
        coordinator_test(a_restarted_server_does_not_wait_for_one_that_came_and_died),
        coordinator_test(a_restarted_server_goes_on_with_the_generation_whose_members_return),
        coordinator_test(a_restarted_server_forms_anew_when_the_helpers_are_gone),
        coordinator_test(a_stop_that_an_operator_ordered_outlives_the_server),
        coordinator_test(a_run_that_lost_all_it_had_begins_anew_after_reading_its_journal),
        coordinator_test(a_restart_with_other_mathematics_is_told),
        coordinator_test(a_journal_of_another_batch_size_is_refused_with_the_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
