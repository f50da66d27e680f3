/* test_shard_records.c - what becomes of shards that cannot be read, and of those that nobody
 * needs.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

/* A second shard, of which a plan is out by now. */
static void train_on_two_shards(struct fixture *f, uint64_t count)
{
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND,
                                         .shard = {.path = "store/b", .records = 100}});
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

static uint64_t told_hash(struct fixture *f, uint64_t id)
{
    hello(f, id, PROTOCOL_VERSION, 0);
    int at = find(f, ACTION_SEND, MESSAGE_SHARDS);
    assert_true(at >= 0);
    return f->actions.items[at].send.message.shards.shards[0].content_hash;
}

static void find_a(struct fixture *f, uint64_t hash)
{
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_SHARD_FOUND,
                  .shard = {.path = "store/a", .records = 100, .content_hash = hash}});
}

/* The first one was found by a server that did not ask for hashes. */
static void workers_are_told_which_file_a_shard_is_and_people_if_it_is_another(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(told_hash(f, 1), 0);
    find_a(f, 7);
    assert_int_equal(told_hash(f, 2), 7);
    assert_int_equal(find(f, ACTION_JOURNAL, JOURNAL_SHARD), -1);
    find_a(f, 8);
    assert_non_null(strstr(event_text(f, "shard_replaced"),
                           "shard=0 path=store/a hash=0000000000000008 expected=0000000000000007"));
    assert_int_equal(told_hash(f, 3), 7);
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_SHARD_FOUND,
                  .shard = {.path = "store/b", .records = 100, .content_hash = 9}});
    int journal = find(f, ACTION_JOURNAL, JOURNAL_SHARD);
    assert_true(journal >= 0 && f->actions.items[journal].record.shard.content_hash == 9);
    restart(f);
    assert_int_equal(told_hash(f, 4), 0); /* until the store is looked at again */
    const struct message *shards =
        &f->actions.items[find(f, ACTION_SEND, MESSAGE_SHARDS)].send.message;
    assert_int_equal(shards->shards.shard_count, 2);
    assert_int_equal(shards->shards.shards[1].content_hash, 9);
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

/* Shard 1 is retired, and a snapshot "best" is taken some steps later. Returns the step of which it
 * was closed. */
static int close_b(struct fixture *f)
{
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
    return closed_at;
}

static int is_used(const struct fixture *f, uint32_t shard)
{
    struct coordinator_shard view;
    assert_true(coordinator_shard(f->coordinator, shard, &view));
    return view.is_used;
}

static void assert_told_of_one_shard(struct fixture *f, uint64_t id)
{
    hello(f, id, PROTOCOL_VERSION, 0);
    const struct message *shards =
        &f->actions.items[find(f, ACTION_SEND, MESSAGE_SHARDS)].send.message;
    assert_int_equal(shards->shards.shard_count, 1);
}

static void a_retired_shard_is_closed_when_no_step_can_need_it(void **state)
{
    struct fixture *f = *state;
    close_b(f);
    assert_non_null(strstr(event_text(f, "shard_closed"), "shard=1 path=store/b"));
    assert_false(is_used(f, 1));
    assert_told_of_one_shard(f, 2);
}

static void what_was_closed_before_a_restart_is_closed_and_no_news(void **state)
{
    struct fixture *f = *state;
    close_b(f);
    restart(f);
    assert_string_equal(event_text(f, "shard_closed"), "");
    assert_false(is_used(f, 1));
    assert_told_of_one_shard(f, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(workers_are_told_which_file_a_shard_is_and_people_if_it_is_another),
        coordinator_test(a_damaged_shard_is_broken_for_all_and_plans_with_it_are_void),
        coordinator_test(a_shard_that_nobody_can_reach_is_broken_once_all_have_said_so),
        coordinator_test(who_alone_cannot_reach_a_shard_is_sent_away_and_the_shard_stays),
        coordinator_test(who_can_read_nothing_at_all_is_sent_away_though_it_is_alone),
        coordinator_test(a_retired_shard_is_closed_when_no_step_can_need_it),
        coordinator_test(what_was_closed_before_a_restart_is_closed_and_no_news),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
