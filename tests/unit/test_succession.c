/* test_succession.c - the next generation, prepared while the present one trains. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

static void say_next(struct fixture *f, uint64_t id, struct message message, uint64_t step)
{
    message.header.worker = id;
    message.header.sequence = ++f->sequence;
    message.header.step = step;
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_MESSAGE, .connection = id, .message = &message});
}

/* Worker 1 has committed step 0 and is at step 1, planned up to 2; worker 2 waits to come in. */
static struct message await_joiner(struct fixture *f)
{
    train(f, 1);
    hello(f, 2, PROTOCOL_VERSION, 0);
    warm(f, 2);
    tick(f, 1000);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_PREPARE), -1); /* nothing is committed yet */
    vote(f, 1, 0, 3, 1);
    return await_prepare(f);
}

static void who_comes_is_prepared_for_while_the_others_train(void **state)
{
    struct fixture *f = *state;
    struct message prepared = await_joiner(f);
    assert_non_null(find_sent(f, 1, MESSAGE_PREPARE));
    assert_int_equal(find_sent(f, 2, MESSAGE_PREPARE)->prepare.rank, 1);
    say_next(f, 1, prepared, 1);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_PLAN), -1);
    say_next(f, 2, prepared, 0); /* steps 1 and 2 are planned: it begins with step 3 */
    vote(f, 1, 1, 3, 1);
    const struct message *plan = find_sent(f, 2, MESSAGE_PLAN);
    assert_int_equal(plan->header.step, 3);
    assert_int_equal(plan->header.generation, prepared.header.generation);
    assert_int_equal(plan->plan.slots[0].slot, 2); /* of four, to decode beforehand */
    assert_int_equal(find_sent(f, 1, MESSAGE_PLAN)->plan.slot_count, 2);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REGROUP), -1);
    vote(f, 1, 2, 3, 1);
    int regroup = find(f, ACTION_SEND, MESSAGE_REGROUP);
    assert_true(regroup > find(f, ACTION_JOURNAL, JOURNAL_GENERATION));
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_GENERATION) > find(f, ACTION_STEP, 0));
    const struct message *message = find_sent(f, 2, MESSAGE_REGROUP);
    assert_int_equal(message->header.generation, prepared.header.generation);
    assert_int_equal(message->header.step, 3);
    assert_int_equal(message->header.attempt, 0);
    assert_int_equal(message->regroup.nonce, prepared.prepared.nonce);
    assert_int_equal(message->regroup.source, STATE_MEMBER);
    assert_int_equal(message->regroup.source_rank, 0);
    assert_int_equal(find(f, ACTION_START_HELPERS, 0), -1); /* they run already */
    say(f, 1, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = 9}}, 3);
    say(f, 2, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = 9}}, 3);
    assert_int_equal(find_sent(f, 2, MESSAGE_PLAN)->header.step, 3); /* the word to go on */
    vote(f, 1, 3, 3, 1);
    vote(f, 2, 3, 3, 1);
    int step = find(f, ACTION_STEP, 0);
    assert_int_equal(f->actions.items[step].step.attempt, 0);
    assert_int_equal(f->actions.items[step].step.world_size, 2);
}

static void who_drains_leaves_without_an_aborted_step(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 3, 1);
    say(f, 1, (struct message){.kind = MESSAGE_LEAVE}, 1);
    assert_null(find_sent(f, 1, MESSAGE_PREPARE));
    struct message prepared = await_prepare(f);
    say_next(f, 2, prepared, 1);
    for (uint64_t step = 1; step <= 2; step++) {
        assert_null(find_sent(f, 1, MESSAGE_DISMISS));
        vote(f, 1, step, 3, 1);
        vote(f, 2, step, 3, 1);
    }
    assert_non_null(find_sent(f, 1, MESSAGE_DISMISS));
    assert_non_null(find_sent(f, 2, MESSAGE_REGROUP));
    int stop = find(f, ACTION_STOP_HELPERS, 0);
    assert_true(stop > find(f, ACTION_SEND, MESSAGE_REGROUP));
    assert_true(f->actions.items[stop].helpers.generation < prepared.header.generation);
    say(f, 2, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = 9}}, 3);
    vote(f, 2, 3, 3, 1);
    assert_int_equal(f->actions.items[find(f, ACTION_STEP, 0)].step.attempt, 0);
}

static void a_joiner_that_is_lost_before_its_step_disturbs_no_other(void **state)
{
    struct fixture *f = *state;
    struct message prepared = await_joiner(f);
    say_next(f, 1, prepared, 1);
    say_next(f, 2, prepared, 0);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 2});
    assert_true(find(f, ACTION_STOP_HELPERS, 0) >= 0);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REGROUP), -1);
    vote(f, 1, 1, 3, 1);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_PLAN), -1); /* step 3 was another's */
    vote(f, 1, 2, 3, 1);
    const struct message *regroup = find_sent(f, 1, MESSAGE_REGROUP);
    assert_int_equal(regroup->header.step, 3);
    assert_int_equal(regroup->header.attempt, 0);
    assert_int_equal(regroup->regroup.member_count, 1);
    assert_true(regroup->header.generation > prepared.header.generation);
}

static void a_death_ends_what_was_being_prepared(void **state)
{
    struct fixture *f = *state;
    struct message prepared = await_joiner(f);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 1});
    int stop = find(f, ACTION_STOP_HELPERS, 0);
    assert_int_equal(f->actions.items[stop].helpers.generation, prepared.header.generation);
    say_next(f, 2, prepared, 0); /* comes too late */
    tick(f, 100);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_PLAN), -1);
}

static void helpers_that_cannot_start_cost_a_pause_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct message prepared = await_joiner(f);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED,
                                         .generation = prepared.header.generation,
                                         .reason = "no mpirun"});
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_PREPARE), -1);
    struct message again = await_prepare(f);
    assert_true(again.header.generation > prepared.header.generation);
    assert_true(again.prepared.nonce != prepared.prepared.nonce);
    say_next(f, 2, prepared, 0); /* of the one that failed */
    say_next(f, 1, again, 1);
    vote(f, 1, 1, 3, 1);
    assert_null(find_sent(f, 2, MESSAGE_PLAN)); /* not agreed on */
}

/* Others give up after form_ms; who says nothing at all is the one that held them up. */
static void a_joiner_that_does_not_prepare_in_time_is_sent_away(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    struct message prepared = await_joiner(f);
    int64_t end = f->now + f->config.server.form_ms + f->config.server.lost_ms;
    int is_told = 0;
    while (f->now < end + 2 * COORDINATOR_TICK_MS) {
        say(f, 1, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat = {.progress = 1}}, 1);
        say(f, 2, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat = {.progress = 1}}, 0);
        if (f->now >= end - f->config.server.lost_ms && !is_told) {
            struct message broken = {.kind = MESSAGE_BROKEN, .header = prepared.header};
            say_next(f, 1, broken, 1);
            is_told = 1;
        }
        tick(f, COORDINATOR_TICK_MS);
    }
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 1);
    assert_int_equal(view.roster->workers[0].id, 1);
    assert_int_equal(view.generation, 1); /* and nobody was disturbed */
}

static void one_of_those_who_leave_stays_until_its_state_is_handed_over(void **state)
{
    struct fixture *f = *state;
    struct message prepared = await_joiner(f);
    say(f, 1, (struct message){.kind = MESSAGE_LEAVE}, 1);
    say_next(f, 1, prepared, 1);
    say_next(f, 2, prepared, 0);
    vote(f, 1, 1, 3, 1);
    vote(f, 1, 2, 3, 1);
    assert_null(find_sent(f, 1, MESSAGE_DISMISS));
    assert_int_equal(find_sent(f, 1, MESSAGE_REGROUP)->regroup.member_count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(who_comes_is_prepared_for_while_the_others_train),
        coordinator_test(who_drains_leaves_without_an_aborted_step),
        coordinator_test(a_joiner_that_is_lost_before_its_step_disturbs_no_other),
        coordinator_test(a_death_ends_what_was_being_prepared),
        coordinator_test(helpers_that_cannot_start_cost_a_pause_and_nothing_else),
        coordinator_test(a_joiner_that_does_not_prepare_in_time_is_sent_away),
        coordinator_test(one_of_those_who_leave_stays_until_its_state_is_handed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
