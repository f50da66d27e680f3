/* test_coordinator.c - the coordinator's decisions one by one; tests/sim has them all at once. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "server/coordinator.h"

struct fixture {
    struct config config;
    struct coordinator *coordinator;
    struct actions actions, journal; /* all records so far */
    int64_t now;
    uint64_t sequence;
};

static void make(struct fixture *f)
{
    config_init(&f->config);
    f->config.train.batch_images = 8;
    f->config.train.slot_images = 2;
    f->config.train.steps = 0;
    f->config.data.block_records = f->config.data.window_blocks = 4;
    f->config.snapshot.every_steps = 1000;
    f->config.server.plan_ahead_steps = 2;
    f->coordinator = coordinator_create(&(struct coordinator_setup){
        .config = &f->config, .config_text = "train: {}\n", .run = 7, .entropy = 1, .boot = 5});
}

static void keep(struct fixture *f)
{
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == ACTION_JOURNAL)
            journal_record_copy(&f->actions.items[i].record,
                                &actions_push(&f->journal, ACTION_JOURNAL)->record);
}

static int setup(void **state)
{
    struct fixture *f = mem_zero(sizeof(*f));
    make(f);
    actions_init(&f->actions);
    actions_init(&f->journal);
    coordinator_start(f->coordinator, 0, &f->actions);
    coordinator_handle(
        f->coordinator,
        &(struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND, .shard = {"store/a", 100}}, 0,
        &f->actions);
    keep(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    actions_done(&f->actions);
    actions_done(&f->journal);
    coordinator_destroy(f->coordinator);
    mem_free(f);
    return 0;
}

static void handle(struct fixture *f, struct coordinator_event event)
{
    actions_clear(&f->actions);
    coordinator_handle(f->coordinator, &event, f->now, &f->actions);
    keep(f);
}

/* A message of worker `id`, on the connection of the same number. */
static void say(struct fixture *f, uint64_t id, struct message message, uint64_t step)
{
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    message.header.run = view.run;
    message.header.epoch = view.epoch;
    message.header.worker = id;
    message.header.sequence = ++f->sequence;
    message.header.step = step;
    message.header.lineage = view.lineage;
    if (message.kind != MESSAGE_HELLO)
        message.header.generation = view.generation;
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_MESSAGE, .connection = id, .message = &message});
}

static void hello(struct fixture *f, uint64_t id, uint32_t protocol, uint64_t fingerprint)
{
    say(f, id,
        (struct message){.kind = MESSAGE_HELLO,
                         .hello = {.protocol = protocol,
                                   .name = "w",
                                   .version = EVERSEER_VERSION,
                                   .boot = 5,
                                   .pid = (uint32_t)id,
                                   .fingerprint = fingerprint}},
        0);
}

static void tick(struct fixture *f, int64_t ms)
{
    for (int64_t end = f->now + ms; f->now < end;) {
        f->now += COORDINATOR_TICK_MS;
        handle(f, (struct coordinator_event){.kind = COORDINATOR_TICK});
    }
}

/* It has rehearsed: nobody would wait for its first step. */
static void warm(struct fixture *f, uint64_t id)
{
    say(f, id, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat = {.is_warm = 1}}, 0);
}

/* Time in which only this worker is heard. */
static void heartbeats(struct fixture *f, uint64_t id, int64_t ms)
{
    for (int64_t end = f->now + ms; f->now < end; tick(f, COORDINATOR_TICK_MS))
        say(f, id, (struct message){.kind = MESSAGE_HEARTBEAT, .heartbeat = {.is_warm = 1}}, 0);
}

static void vote(struct fixture *f, uint64_t id, uint64_t step, uint64_t digest, int is_finite)
{
    say(f, id,
        (struct message){
            .kind = MESSAGE_READY,
            .ready = {.is_finite = is_finite, .loss = 2.0, .digest = digest, .images = 4}},
        step);
}

/* Index of the first such action (for sends: with that message); -1 = none. */
static int find(const struct fixture *f, enum action_kind kind, int detail)
{
    for (uint32_t i = 0; i < f->actions.count; i++) {
        const struct action *action = &f->actions.items[i];
        if (action->kind != kind)
            continue;
        if (kind == ACTION_SEND && (int)action->send.message.kind != detail)
            continue;
        if (kind == ACTION_JOURNAL && (int)action->record.kind != detail)
            continue;
        return (int)i;
    }
    return -1;
}

/* `count` workers, formed and planned. */
static void train(struct fixture *f, uint64_t count)
{
    for (uint64_t id = 1; id <= count; id++) {
        hello(f, id, PROTOCOL_VERSION, 0);
        warm(f, id);
    }
    for (int i = 0; i < 20 && find(f, ACTION_SEND, MESSAGE_REGROUP) < 0; i++)
        tick(f, COORDINATOR_TICK_MS);
    for (uint64_t id = 1; id <= count; id++)
        say(f, id, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = 9}}, 0);
}

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

static const char *event_text(const struct fixture *f, const char *kind)
{
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == ACTION_EVENT &&
            strcmp(f->actions.items[i].event.kind, kind) == 0)
            return f->actions.items[i].event.text;
    return "";
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

static void members_with_different_gradients_commit_nothing(void **state)
{
    struct fixture *f = *state;
    train(f, 3);
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 4, 1);
    vote(f, 3, 0, 3, 1);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STEP), -1);
    assert_true(find(f, ACTION_STOP_HELPERS, 0) >= 0);
    struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.step, 0);
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
    heartbeats(f, 1, f->config.server.lost_ms); /* so the other is silent alone */
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 1);
    tick(f, 20 * f->config.server.lost_ms);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.roster->count, 0);
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

/* The message to this worker; NULL = there is none. */
static const struct message *find_sent(const struct fixture *f, uint64_t id, enum message_kind kind)
{
    for (uint32_t i = 0; i < f->actions.count; i++) {
        const struct action *action = &f->actions.items[i];
        if (action->kind == ACTION_SEND && action->send.message.kind == kind &&
            action->send.message.header.worker == id)
            return &action->send.message;
    }
    return NULL;
}

/* Ticks until somebody is told to prepare; its generation and nonce. */
static struct message await_prepare(struct fixture *f)
{
    for (int i = 0; i < 20 && find(f, ACTION_SEND, MESSAGE_PREPARE) < 0; i++)
        tick(f, COORDINATOR_TICK_MS);
    int prepare = find(f, ACTION_SEND, MESSAGE_PREPARE);
    assert_true(prepare >= 0);
    const struct message *message = &f->actions.items[prepare].send.message;
    if (message->prepare.member_count > 1) /* beforehand: they take longest */
        assert_true(find(f, ACTION_START_HELPERS, 0) < prepare);
    return (struct message){.kind = MESSAGE_PREPARED,
                            .header.generation = message->header.generation,
                            .prepared.nonce = message->prepare.nonce};
}

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

static void a_pause_holds_the_verdict_and_a_resume_gives_it(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_COMMAND,
                                         .command = {COMMAND_PAUSE, 1, ""}});
    vote(f, 1, 0, 3, 1);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_STEP), -1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_COMMAND,
                                         .command = {COMMAND_RESUME, 2, ""}});
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_STEP) >= 0);
}

static void order(struct fixture *f, enum coordinator_command command, const char *name)
{
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_COMMAND, .connection = 99, .command = {command, 1, name}});
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

static void a_stop_takes_a_snapshot_first_and_then_finishes(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_COMMAND,
                                         .command = {COMMAND_STOP, 1, ""}});
    vote(f, 1, 1, 3, 1);
    int expect = find(f, ACTION_EXPECT_SNAPSHOT, 0);
    assert_true(expect >= 0);
    assert_int_equal(f->actions.items[expect].snapshot.step, 2);
    assert_string_equal(f->actions.items[expect].snapshot.name, "step-000000002");
    assert_int_equal(find(f, ACTION_FINISHED, 0), -1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE,
                                         .snapshot = {"step-000000002", 2}});
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT) >= 0);
    assert_true(find(f, ACTION_SEND, MESSAGE_DISMISS) >= 0);
    say(f, 1, (struct message){.kind = MESSAGE_BYE}, 2);
    assert_true(find(f, ACTION_FINISHED, 0) >= 0);
}

/* Ticks until there is such an action, for so long at most; as find. */
static int await(struct fixture *f, enum action_kind kind, int detail, int64_t ms)
{
    int found = -1;
    for (int64_t end = f->now + ms; f->now < end && found < 0; found = find(f, kind, detail))
        tick(f, COORDINATOR_TICK_MS);
    return found;
}

static const struct message *answer(const struct fixture *f)
{
    int reply = find(f, ACTION_SEND, MESSAGE_REPLY);
    assert_true(reply >= 0);
    return &f->actions.items[reply].send.message;
}

/* As if the server had died after the last event. */
static void restart(struct fixture *f)
{
    coordinator_destroy(f->coordinator);
    make(f);
    for (uint32_t i = 0; i < f->journal.count; i++)
        assert_ok(coordinator_restore(f->coordinator, &f->journal.items[i].record));
    actions_clear(&f->actions);
    coordinator_start(f->coordinator, f->now, &f->actions);
    keep(f);
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

/* A worker trains a step, and its state is saved under this name. */
static void save(struct fixture *f, uint64_t step, const char *name)
{
    vote(f, 1, step, 3, 1);
    order(f, COMMAND_SNAPSHOT, name);
    assert_int_equal(answer(f)->reply.status, OK);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE,
                                         .snapshot = {name, step + 1}});
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT) >= 0);
}

static void a_snapshot_that_was_due_while_another_was_taken_comes_after_it(void **state)
{
    struct fixture *f = *state;
    f->config.snapshot.every_steps = 2;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    order(f, COMMAND_SNAPSHOT, "best");
    vote(f, 1, 1, 3, 1);
    assert_int_equal(find(f, ACTION_EXPECT_SNAPSHOT, 0), -1);
    handle(f,
           (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE, .snapshot = {"best", 1}});
    vote(f, 1, 2, 3, 1);
    int expect = find(f, ACTION_EXPECT_SNAPSHOT, 0);
    assert_int_equal(f->actions.items[expect].snapshot.step, 3);
    vote(f, 1, 3, 3, 1); /* and is not due any more, but the next one is */
    assert_int_equal(find(f, ACTION_EXPECT_SNAPSHOT, 0), -1);
}

static const char *newest_snapshot(const struct fixture *f)
{
    static struct coordinator_view view;
    coordinator_view(f->coordinator, &view);
    return view.snapshot;
}

static void a_removed_snapshot_is_never_restored_from_again(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    save(f, 0, "good");
    save(f, 1, "best");
    order(f, COMMAND_REMOVE, "best");
    int record = find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT_REMOVED);
    int removal = find(f, ACTION_REMOVE_SNAPSHOT, 0);
    assert_true(record >= 0 && record < removal);
    assert_int_equal(f->actions.items[removal].removal.connection, 99);
    assert_int_equal(find(f, ACTION_SEND, MESSAGE_REPLY), -1); /* not before the file is gone */
    assert_string_equal(newest_snapshot(f), "good");
    restart(f);
    assert_string_equal(newest_snapshot(f), "good");
}

static void a_name_that_is_used_again_is_of_the_new_file_only(void **state)
{
    struct fixture *f = *state;
    struct coordinator_view view;
    train(f, 1);
    save(f, 0, "best");
    save(f, 1, "best"); /* somebody has deleted the first one's file */
    restart(f);
    coordinator_view(f->coordinator, &view);
    assert_int_equal(view.snapshot_step, 2);
    handle(f,
           (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_GONE, .snapshot = {"best", 0}});
    assert_string_equal(newest_snapshot(f), "");
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT_REMOVED), -1); /* perhaps unmounted */
}

static void retention_leaves_the_newest_snapshot_alone(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    save(f, 0, "old");
    save(f, 1, "new");
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_SURPLUS,
                                         .snapshot = {"new", 0}});
    assert_int_equal(find(f, ACTION_REMOVE_SNAPSHOT, 0), -1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_SURPLUS,
                                         .snapshot = {"old", 0}});
    assert_true(find(f, ACTION_REMOVE_SNAPSHOT, 0) >
                find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT_REMOVED));
}

static void a_snapshot_that_a_restore_reads_is_not_removed(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    save(f, 0, "best");
    restart(f);
    tick(f, 3 * f->config.server.lost_ms); /* who held the state is not coming back */
    hello(f, 2, PROTOCOL_VERSION, 0);
    warm(f, 2);
    assert_true(await(f, ACTION_SEND, MESSAGE_REGROUP, 1000) >= 0);
    order(f, COMMAND_REMOVE, "best");
    assert_int_equal(answer(f)->reply.status, ERR_STALE);
    assert_int_equal(find(f, ACTION_REMOVE_SNAPSHOT, 0), -1);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_SURPLUS,
                                         .snapshot = {"best", 0}});
    assert_int_equal(find(f, ACTION_REMOVE_SNAPSHOT, 0), -1);
}

static void a_snapshot_that_became_complete_too_late_is_removed(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    order(f, COMMAND_SNAPSHOT, "best");
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 1});
    assert_true(find(f, ACTION_DROP_SNAPSHOT, 0) >= 0);
    handle(f,
           (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE, .snapshot = {"best", 1}});
    assert_true(find(f, ACTION_REMOVE_SNAPSHOT, 0) >= 0);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT), -1);
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
                                                 .shard = {"store/b", 1000}});
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

/* A second shard, of which a plan is out by now. */
static void train_on_two_shards(struct fixture *f, uint64_t count)
{
    handle(f,
           (struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND, .shard = {"store/b", 100}});
    train(f, count);
}

static void cannot_read(struct fixture *f, uint64_t id, uint32_t shard, int is_damaged,
                        uint32_t open_count)
{
    say(f, id,
        (struct message){.kind = MESSAGE_SHARD_UNREADABLE,
                         .shard_unreadable = {shard, is_damaged, open_count, "no such file"}},
        0);
}

/* Is this worker told, by now, that the shard is not needed? */
static int is_told_to_close(const struct fixture *f, uint64_t id, uint32_t shard)
{
    for (uint32_t i = 0; i < f->actions.count; i++) {
        const struct action *action = &f->actions.items[i];
        if (action->kind == ACTION_SEND && action->send.connection == id &&
            action->send.message.kind == MESSAGE_SHARDS &&
            action->send.message.shards.from == shard &&
            action->send.message.shards.until == shard + 1 &&
            action->send.message.shards.shard_count == 0)
            return 1;
    }
    return 0;
}

static int is_broken(const struct fixture *f, uint32_t shard)
{
    struct coordinator_shard view;
    assert_true(coordinator_shard(f->coordinator, shard, &view));
    return view.is_broken && view.is_retired && !view.is_used;
}

static void a_damaged_shard_is_broken_for_all_and_plans_with_it_are_void(void **state)
{
    struct fixture *f = *state;
    train_on_two_shards(f, 2);
    cannot_read(f, 2, 1, 1, 1);
    int journal = find(f, ACTION_JOURNAL, JOURNAL_RETIRE);
    assert_true(journal >= 0 && find(f, ACTION_SEND, MESSAGE_SHARDS) > journal);
    assert_true(f->actions.items[journal].record.retire.is_broken);
    assert_non_null(strstr(event_text(f, "shard_broken"), "path=store/b worker=w-2"));
    assert_true(is_told_to_close(f, 1, 1) && is_told_to_close(f, 2, 1));
    assert_non_null(strstr(event_text(f, "generation_ended"), "shard 1 is broken"));
    assert_true(is_broken(f, 1));
    cannot_read(f, 1, 1, 1, 1); /* said before it heard */
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_RETIRE), -1);
    assert_true(is_told_to_close(f, 1, 1));
    restart(f);
    assert_true(is_broken(f, 1));
    hello(f, 3, PROTOCOL_VERSION, 0);
    const struct message *shards =
        &f->actions.items[find(f, ACTION_SEND, MESSAGE_SHARDS)].send.message;
    assert_int_equal(shards->shards.until, 2);
    assert_int_equal(shards->shards.shard_count, 1);
    assert_int_equal(shards->shards.shards[0].id, 0);
}

static void a_shard_that_nobody_can_reach_is_broken_once_all_have_said_so(void **state)
{
    struct fixture *f = *state;
    train_on_two_shards(f, 2);
    cannot_read(f, 1, 1, 0, 1);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_RETIRE), -1);
    assert_false(is_broken(f, 1));
    cannot_read(f, 2, 1, 0, 1);
    assert_true(find(f, ACTION_JOURNAL, JOURNAL_RETIRE) >= 0);
    assert_true(is_broken(f, 1));
}

static void who_alone_cannot_reach_a_shard_is_sent_away_and_the_shard_stays(void **state)
{
    struct fixture *f = *state;
    train_on_two_shards(f, 2);
    cannot_read(f, 2, 1, 0, 1);
    for (int64_t end = f->now + 20000; f->now < end && event_text(f, "worker_blind")[0] == 0;) {
        for (uint64_t id = 1; id <= 2; id++)
            warm(f, id);
        tick(f, COORDINATOR_TICK_MS);
    }
    assert_non_null(strstr(event_text(f, "worker_blind"), "worker=w-2"));
    int reject = find(f, ACTION_SEND, MESSAGE_REJECT);
    assert_true(reject >= 0);
    assert_int_equal(f->actions.items[reject].send.connection, 2);
    assert_non_null(strstr(f->actions.items[reject].send.message.reject.reason, "mounted"));
    assert_false(is_broken(f, 1));
}

static void who_can_read_nothing_at_all_is_sent_away_though_it_is_alone(void **state)
{
    struct fixture *f = *state;
    train_on_two_shards(f, 1);
    cannot_read(f, 1, 0, 0, 0);
    assert_true(find(f, ACTION_SEND, MESSAGE_REJECT) >= 0);
    assert_false(is_broken(f, 0));
    hello(f, 2, PROTOCOL_VERSION, 0);
    cannot_read(f, 2, 99, 1, 0); /* there is no such shard */
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_RETIRE), -1);
}

static void a_retired_shard_is_closed_when_no_step_can_need_it(void **state)
{
    struct fixture *f = *state;
    enum { STEPS = 64 };
    int closed_at = -1;
    train_on_two_shards(f, 1);
    order(f, COMMAND_RETIRE, "store/b");
    for (int step = 0; step < STEPS && closed_at < 0; step++) {
        vote(f, 1, (uint64_t)step, 3, 1);
        if (is_told_to_close(f, 1, 1))
            closed_at = step;
        if (step == 30)
            save(f, (uint64_t)step + 1, "best");
    }
    assert_in_range(closed_at, 31, STEPS); /* before the snapshot a restore would need it */
    hello(f, 2, PROTOCOL_VERSION, 0);
    const struct message *shards =
        &f->actions.items[find(f, ACTION_SEND, MESSAGE_SHARDS)].send.message;
    assert_int_equal(shards->shards.shard_count, 1);
}

static void what_is_not_removed_may_be_pinned_again(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    save(f, 1, "best");
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_SURPLUS,
                                         .snapshot = {.name = "best"}});
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_SNAPSHOT_REMOVED), -1);
    assert_true(find(f, ACTION_KEEP_SNAPSHOT, 0) >= 0);
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

/* Two workers are dismissed; the first has said bye. */
static void finish(struct fixture *f)
{
    train(f, 2);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_COMMAND,
                                         .command = {COMMAND_STOP, 1, ""}});
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

static void the_one_furthest_behind_is_blamed(void **state)
{
    (void)state;
    struct roster roster;
    roster_init(&roster);
    const struct message_hello words = {.name = "w"};
    static const struct {
        uint64_t step;
        uint32_t phase;
        int is_ready;
    } facts[] = {
        {5, PHASE_REDUCE, 0}, {5, PHASE_FORWARD, 0}, {5, PHASE_IDLE, 1}, {5, PHASE_READY, 0}};
    for (uint64_t i = 0; i < 4; i++) {
        struct worker *worker = roster_add(&roster, i + 1, &words);
        worker->rank = (int)i;
        worker->heartbeat_step = facts[i].step;
        worker->heartbeat.phase = facts[i].phase;
        worker->is_ready = facts[i].is_ready;
    }
    assert_int_equal(roster_find_blamed(&roster)->id, 2);
    roster_find(&roster, 4)->heartbeat_step = 4;
    assert_int_equal(roster_find_blamed(&roster)->id, 4);
    roster_done(&roster);
}

/* Of those who did not form in time only the one who did nothing goes; the others wait for it. */
static void who_did_nothing_is_why_a_generation_does_not_form(void **state)
{
    struct fixture *f = *state;
    hello(f, 1, PROTOCOL_VERSION, 0);
    warm(f, 1);
    hello(f, 2, PROTOCOL_VERSION, 0);
    warm(f, 2);
    for (int i = 0; i < 20 && find(f, ACTION_SEND, MESSAGE_REGROUP) < 0; i++)
        tick(f, COORDINATOR_TICK_MS);
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
    hello(f, 1, PROTOCOL_VERSION, 0);
    warm(f, 1);
    hello(f, 2, PROTOCOL_VERSION, 0);
    warm(f, 2);
    for (int i = 0; i < 20 && find(f, ACTION_SEND, MESSAGE_REGROUP) < 0; i++)
        tick(f, COORDINATOR_TICK_MS);
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

static void a_retirement_is_in_the_catalogue_at_once(void **state)
{
    struct fixture *f = *state;
    handle(f,
           (struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND, .shard = {"store/b", 1000}});
    train(f, 1);
    order(f, COMMAND_RETIRE, "store/b");
    int retire = find(f, ACTION_JOURNAL, JOURNAL_RETIRE);
    int entry = find(f, ACTION_JOURNAL, JOURNAL_ENTRY);
    assert_true(retire >= 0 && entry > retire && find(f, ACTION_SEND, MESSAGE_REPLY) > entry);
    assert_int_equal(f->actions.items[entry].record.entry.dropped_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_verdict_is_journaled_before_it_is_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(a_loss_that_is_not_finite_moves_the_stream_and_nothing_else,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_with_a_slot_of_bad_records_is_skipped_visibly, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(only_planned_records_are_believed_to_be_bad, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_vote_that_is_repeated_gets_the_verdict_of_the_journal,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(members_with_different_gradients_commit_nothing, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_death_ends_the_generation_and_the_next_begins_at_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(workers_that_do_not_fit_are_refused_for_good, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(two_workers_of_one_name_get_two_names, setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_not_known_is_asked_for_a_hello, setup, teardown),
        cmocka_unit_test_setup_teardown(a_server_that_slept_blames_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_silence_of_all_at_once_is_the_servers_own_until_it_lasts_long, setup, teardown),
        cmocka_unit_test_setup_teardown(a_pause_holds_the_verdict_and_a_resume_gives_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_is_evicted_is_out_at_once_and_for_good, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_drains_still_drains_when_the_server_starts_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_restarted_server_goes_on_with_the_generation_whose_members_return, setup, teardown),
        cmocka_unit_test_setup_teardown(a_restarted_server_forms_anew_when_the_helpers_are_gone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_restarted_server_does_not_wait_for_the_dead, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_restarted_server_does_not_wait_for_one_that_came_and_died,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(words_of_the_past_change_nothing_and_are_counted_by_kind,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_is_heard_on_a_new_connection_is_not_lost, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_comes_is_prepared_for_while_the_others_train, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_drains_leaves_without_an_aborted_step, setup, teardown),
        cmocka_unit_test_setup_teardown(a_joiner_that_is_lost_before_its_step_disturbs_no_other,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_death_ends_what_was_being_prepared, setup, teardown),
        cmocka_unit_test_setup_teardown(helpers_that_cannot_start_cost_a_pause_and_nothing_else,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_joiner_that_does_not_prepare_in_time_is_sent_away, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_run_begins_when_those_who_came_are_warm, setup, teardown),
        cmocka_unit_test_setup_teardown(nobody_waits_for_the_first_step_of_another, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_of_those_who_leave_stays_until_its_state_is_handed_over,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_takes_a_snapshot_first_and_then_finishes, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_stop_that_an_operator_ordered_outlives_the_server, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_removed_snapshot_is_never_restored_from_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_name_that_is_used_again_is_of_the_new_file_only, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            a_snapshot_that_was_due_while_another_was_taken_comes_after_it, setup, teardown),
        cmocka_unit_test_setup_teardown(retention_leaves_the_newest_snapshot_alone, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_that_a_restore_reads_is_not_removed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_snapshot_that_became_complete_too_late_is_removed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(orders_may_be_given_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_run_that_lost_all_it_had_begins_anew_after_reading_its_journal, setup, teardown),
        cmocka_unit_test_setup_teardown(a_finished_run_ends_when_everybody_said_bye, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_finished_run_does_not_wait_for_the_dead, setup, teardown),
        cmocka_unit_test_setup_teardown(a_finished_run_does_not_wait_for_ever, setup, teardown),
        cmocka_unit_test_setup_teardown(a_journal_of_another_batch_size_is_refused_with_the_remedy,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_did_nothing_is_why_a_generation_does_not_form, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(who_neither_forms_nor_gives_up_is_named_and_replaced, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_helper_that_never_calls_is_named_and_nobody_is_sent_away,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(if_no_helper_calls_it_is_mpirun_or_one_of_them, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_retirement_is_in_the_catalogue_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_damaged_shard_is_broken_for_all_and_plans_with_it_are_void, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_shard_that_nobody_can_reach_is_broken_once_all_have_said_so, setup, teardown),
        cmocka_unit_test_setup_teardown(
            who_alone_cannot_reach_a_shard_is_sent_away_and_the_shard_stays, setup, teardown),
        cmocka_unit_test_setup_teardown(who_can_read_nothing_at_all_is_sent_away_though_it_is_alone,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_retired_shard_is_closed_when_no_step_can_need_it, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_not_removed_may_be_pinned_again, setup, teardown),
        cmocka_unit_test(the_one_furthest_behind_is_blamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
