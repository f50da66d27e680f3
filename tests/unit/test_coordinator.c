/* test_coordinator.c - the steps of a coordinator, one by one; tests/sim has all its decisions at
 * once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

#include "common/mem.h"

static void a_verdict_is_journaled_before_it_is_sent(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    assert_true(find(f, ACTION_SEND, MESSAGE_PLAN) >= 0);
    vote(f, 1, 0, 3, 1);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STEP), -1);
    vote(f, 2, 0, 3, 1);
    int journal = find(f, ACTION_JOURNAL, JOURNAL_STEP);
    int verdict = find(f, ACTION_SEND, MESSAGE_VERDICT);
    assert_true(journal >= 0 && verdict > journal);
    assert_true(f->actions.items[verdict].send.message.verdict.is_commit);
    assert_true(find(f, ACTION_STEP, 0) > journal);
}

static void a_loss_that_is_not_finite_moves_the_stream_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    vote(f, 1, 0, 3, 0);
    int verdict = find(f, ACTION_SEND, MESSAGE_VERDICT);
    assert_false(f->actions.items[verdict].send.message.verdict.is_commit);
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.step, 1);
    assert_int_equal(view.position, 8);
}

/* Or it would be planned for ever: the records do not get better. */
static void a_step_with_a_slot_of_bad_records_is_skipped_visibly(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    vote(f, 1, 0, 3, 1);
    say(f, 2,
        (struct message){.kind = MESSAGE_READY,
                         .ready = {.is_finite = 1, .loss = 2, .digest = 3, .unaccounted = 2}},
        0);
    int journal = find(f, ACTION_JOURNAL, JOURNAL_STEP);
    assert_true(journal >= 0);
    assert_false(f->actions.items[journal].record.step.is_commit);
    assert_non_null(strstr(event_text(f, "step_skipped"), "unaccounted=2"));
}

/* The first plan of a step for this worker. */
static const struct message_plan *plan_of(const struct fixture *f, uint64_t id, uint64_t step)
{
    for (uint32_t i = 0; i < f->actions.count; i++) {
        const struct action *action = &f->actions.items[i];
        if (action->kind == ACTION_SEND && action->send.message.kind == MESSAGE_PLAN &&
            action->send.connection == id && action->send.message.header.step == step)
            return &action->send.message.plan;
    }
    return NULL;
}

static void only_planned_records_are_believed_to_be_bad(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    const struct message_plan *plan = plan_of(f, 2, 0);
    struct message_skip skip = {plan->shards[1], plan->records[1], plan->slots[0].position + 1,
                                "truncated"};
    struct message_skip skips[] = {skip, skip, skip, skip};
    skips[1].record ^= 1;
    skips[2].shard++;
    skips[3].position = 0; /* it is the other one's */
    vote(f, 1, 0, 3, 1);
    say(f, 2,
        (struct message){
            .kind = MESSAGE_READY,
            .ready = {.is_finite = 1, .loss = 2, .digest = 3, .skip_count = 4, .skips = skips}},
        0);
    const struct journal_step *step =
        &f->actions.items[find(f, ACTION_JOURNAL, JOURNAL_STEP)].record.step;
    assert_true(step->is_commit);
    assert_int_equal(step->skip_count, 1);
    struct coordinator_shard shard;
    assert_true(coordinator_shard(f->coordinator, 0, &shard));
    assert_int_equal(shard.quarantined.records, 1);
    assert_int_equal(step->skips[0].record, skip.record);
    assert_non_null(strstr(event_text(f, "skips_refused"), "worker=w-2 count=3"));
}

static void a_vote_that_is_repeated_gets_the_verdict_of_the_journal(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    vote(f, 1, 0, 3, 1);
    assert_true(find(f, ACTION_SEND, MESSAGE_VERDICT) >= 0);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STEP), -1);
}

static void a_death_ends_the_generation_and_the_next_begins_at_once(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    vote(f, 1, 0, 3, 1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 2});
    int regroup = find(f, ACTION_SEND, MESSAGE_REGROUP);
    assert_true(regroup > find(f, ACTION_JOURNAL, JOURNAL_GENERATION));
    const struct message *message = &f->actions.items[regroup].send.message;
    assert_int_equal(message->regroup.member_count, 1);
    assert_int_equal(message->regroup.engine, 0); /* alone: no library */
    assert_false(message->regroup.has_verdict);
}

static void a_pause_holds_the_verdict_and_a_resume_gives_it(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_COMMAND,
                  .command = {.command = COMMAND_PAUSE, .request = 1, .argument = ""}});
    vote(f, 1, 0, 3, 1);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STEP), -1);
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_COMMAND,
                  .command = {.command = COMMAND_RESUME, .request = 2, .argument = ""}});
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_STEP) >= 0);
}

/* Says a message of the past with a header that is right but for what `change` does to it. */
static void say_past(struct fixture *f, enum stale_kind kind, struct message message, uint64_t id,
                     uint64_t connection, void (*change)(struct message_header *header))
{
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    uint64_t before[STALE_KIND_COUNT], steps = view.step;
    memcpy(before, view.stale, sizeof(before));
    message.header = (struct message_header){.run = view.run,
                                             .epoch = view.epoch,
                                             .lineage = view.lineage,
                                             .generation = view.generation,
                                             .step = view.step,
                                             .worker = id,
                                             .sequence = ++f->sequence};
    change(&message.header);
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_MESSAGE, .connection = connection, .message = &message});
    coordinator_view(f->coordinator, &view);
    for (int i = 0; i < STALE_KIND_COUNT; i++)
        assert_int_equal(view.stale[i] - before[i], i == (int)kind);
    assert_int_equal(view.step, steps);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STEP), -1);
}

static void change_nothing(struct message_header *header)
{
    (void)header;
}

static void change_run(struct message_header *header)
{
    header->run++;
}

static void change_epoch(struct message_header *header)
{
    header->epoch--;
}

static void change_lineage(struct message_header *header)
{
    header->lineage++;
}

static void change_generation(struct message_header *header)
{
    header->generation--;
}

static void change_step(struct message_header *header)
{
    header->step += 5;
}

static void change_sequence(struct message_header *header)
{
    header->sequence = 1;
}

/* The vote that is missing to the step, and other words, each of another kind of past. */
static void words_of_the_past_change_nothing_and_are_counted_by_kind(void **state)
{
    struct fixture *f = *state;
    const struct message ready = {.kind = MESSAGE_READY,
                                  .ready = {.is_finite = 1, .loss = 2.0, .digest = 3}};
    const struct message broken = {.kind = MESSAGE_BROKEN}, heartbeat = {.kind = MESSAGE_HEARTBEAT};
    const struct message past_hello = {
        .kind = MESSAGE_HELLO,
        .hello = {.protocol = PROTOCOL_VERSION, .name = "w", .version = EVERSEER_VERSION}};
    train(f, 2);
    vote(f, 1, 0, 3, 1);
    say_past(f, STALE_RUN, ready, 3, 3, change_run);
    say_past(f, STALE_RUN, past_hello, 3, 3, change_run);
    say_past(f, STALE_EPOCH, ready, 3, 3, change_epoch);
    say_past(f, STALE_EPOCH, ready, 2, 2, change_epoch);
    say_past(f, STALE_INCARNATION, ready, 3, 3, change_nothing);
    say_past(f, STALE_INCARNATION, ready, 2, 99, change_nothing);
    say_past(f, STALE_LINEAGE, ready, 2, 2, change_lineage);
    say_past(f, STALE_GENERATION, ready, 2, 2, change_generation);
    say_past(f, STALE_GENERATION, broken, 2, 2, change_generation);
    say_past(f, STALE_STEP, ready, 2, 2, change_step);
    say_past(f, STALE_ORDER, heartbeat, 2, 2, change_sequence);
    say_past(f, STALE_ORDER, past_hello, 2, 2, change_sequence);
    vote(f, 2, 0, 3, 1); /* and nothing of it was in the way */
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_STEP) >= 0);
}

static void orders_may_be_given_twice(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    static const struct {
        enum coordinator_command command;
        const char *argument;
        int record; /* its kind; 0: none */
    } orders[] = {
        {COMMAND_SNAPSHOT, "best", 0},
        {COMMAND_PAUSE, "", JOURNAL_PAUSE},
        {COMMAND_RESUME, "", JOURNAL_PAUSE},
        {COMMAND_RETIRE, "store/a", JOURNAL_RETIRE},
        {COMMAND_RETIRE, "0", 0}, /* the same one, by number */
    };
    for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        order(f, orders[i].command, orders[i].argument);
        assert_int_equal(answer(f)->reply.status, OK);
        if (orders[i].record != 0)
            assert_true(find(f, ACTION_JOURNAL, orders[i].record) >= 0);
        char *first = mem_string(answer(f)->reply.body);
        order(f, orders[i].command, orders[i].argument);
        assert_int_equal(answer(f)->reply.status, OK);
        assert_string_equal(answer(f)->reply.body, first);
        assert_int_equal(find(f, ACTION_JOURNAL, orders[i].record), -1);
        mem_free(first);
    }
    order(f, COMMAND_RETIRE, "1");
    assert_int_equal(answer(f)->reply.status, ERR_INPUT);
    order(f, COMMAND_SNAPSHOT, "step-mine");
    assert_int_equal(answer(f)->reply.status, ERR_INPUT);
}

static void a_retirement_is_in_the_catalogue_at_once(void **state)
{
    struct fixture *f = *state;
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND,
                                         .shard = {.path = "store/b", .records = 1000}});
    train(f, 1);
    order(f, COMMAND_RETIRE, "store/b");
    int retire = find(f, ACTION_JOURNAL, JOURNAL_RETIRE);
    int entry = find(f, ACTION_JOURNAL, JOURNAL_ENTRY);
    assert_true(retire >= 0 && entry > retire && find(f, ACTION_SEND, MESSAGE_REPLY) > entry);
    assert_int_equal(f->actions.items[entry].record.entry.dropped_count, 1);
}

static void find_living(struct fixture *f, const char *path, int64_t created_ms)
{
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_SHARD_FOUND,
                  .shard = {.path = path, .records = 1000, .fact = {created_ms, 10, 1}}});
}

static const int64_t day_ms = 24LL * 3600 * 1000;

static void a_living_shard_expires_beyond_what_is_planned(void **state)
{
    struct fixture *f = *state;
    struct coordinator_shard shard;
    find_living(f, "store/old", 0);
    find_living(f, "store/new", 60 * day_ms);
    train(f, 1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_TIME, .wall_ms = 90 * day_ms});
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_RETIRE), -1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_TIME, .wall_ms = 91 * day_ms});
    int retire = find(f, ACTION_JOURNAL, JOURNAL_RETIRE);
    int entry = find(f, ACTION_JOURNAL, JOURNAL_ENTRY);
    assert_true(retire >= 0 && entry > retire);
    assert_int_equal(f->actions.items[retire].record.retire.shard, 1);
    assert_int_equal(f->actions.items[entry].record.entry.dropped_count, 1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_TIME, .wall_ms = 92 * day_ms});
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_RETIRE), -1);
    assert_true(coordinator_shard(f->coordinator, 1, &shard));
    assert_true(shard.is_retired && shard.is_used && !shard.is_surplus);
    assert_true(coordinator_shard(f->coordinator, 0, &shard));
    assert_true(!shard.is_retired && !shard.fact.is_living);
}

static void give_policy(struct fixture *f, struct stream_policy policy)
{
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_COMMAND,
                  .connection = 9,
                  .command = {.command = COMMAND_POLICY, .request = 1, .policy = &policy}});
}

static void a_policy_is_durable_before_it_is_answered_and_survives_the_server(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    struct stream_policy policy = {.max_age_days = 3, .max_bytes = 5, .is_repeating = 0};
    give_policy(f, policy);
    int record = find(f, ACTION_JOURNAL, JOURNAL_POLICY);
    assert_true(record >= 0 && find(f, ACTION_SEND, MESSAGE_REPLY) > record);
    give_policy(f, policy);
    assert_int_equal(answer(f)->reply.status, OK);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_POLICY), -1);
    restart(f);
    coordinator_view(f->coordinator, &view);
    assert_memory_equal(view.policy, &policy, sizeof(policy));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(a_living_shard_expires_beyond_what_is_planned),
        coordinator_test(a_policy_is_durable_before_it_is_answered_and_survives_the_server),
        coordinator_test(a_verdict_is_journaled_before_it_is_sent),
        coordinator_test(a_loss_that_is_not_finite_moves_the_stream_and_nothing_else),
        coordinator_test(a_step_with_a_slot_of_bad_records_is_skipped_visibly),
        coordinator_test(only_planned_records_are_believed_to_be_bad),
        coordinator_test(a_vote_that_is_repeated_gets_the_verdict_of_the_journal),
        coordinator_test(a_death_ends_the_generation_and_the_next_begins_at_once),
        coordinator_test(a_pause_holds_the_verdict_and_a_resume_gives_it),
        coordinator_test(words_of_the_past_change_nothing_and_are_counted_by_kind),
        coordinator_test(orders_may_be_given_twice),
        coordinator_test(a_retirement_is_in_the_catalogue_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
