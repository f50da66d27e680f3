/* test_slices.c - what the server takes each member to have of a sharded momentum.
 *
 * Four members, so each keeps two of four slices in the midst of a step and all of it between
 * steps: 1 and 2 are neighbours, 1 and 3 have every slice together. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

#include "common/mem.h"

enum { MEMBERS = 4 };

static void train_sharded(struct fixture *f, int64_t steps)
{
    f->config.optimizer.sharded = 1;
    f->config.train.steps = steps;
    train(f, MEMBERS);
}

static void vote_all(struct fixture *f, uint64_t step)
{
    for (uint64_t id = 1; id <= MEMBERS; id++)
        vote(f, id, step, 5, 1);
}

static void die(struct fixture *f, uint64_t id)
{
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = id});
}

/* Worker `id`, of this rank, says what it has after the first step; slice_count 0: all of it. */
static void beat(struct fixture *f, uint64_t id, uint32_t slice_count)
{
    say(f, id,
        (struct message){.kind = MESSAGE_HEARTBEAT,
                         .heartbeat = {.is_warm = 1,
                                       .slice_rank = slice_count > 0 ? (uint32_t)id - 1 : 0,
                                       .slice_count = slice_count}},
        1);
}

static uint32_t source_told_to(struct fixture *f, uint64_t id)
{
    if (find_sent(f, id, MESSAGE_REGROUP) == NULL)
        await(f, ACTION_SEND, MESSAGE_REGROUP, f->config.server.heartbeat_ms);
    const struct message *regroup = find_sent(f, id, MESSAGE_REGROUP);
    assert_non_null(regroup);
    return regroup->regroup.source;
}

static void those_who_have_every_slice_go_on_from_the_midst_of_a_step(void **state)
{
    struct fixture *f = *state;
    train_sharded(f, 0);
    vote_all(f, 0);
    die(f, 2);
    assert_int_equal(source_told_to(f, 1), STATE_KEEP);
    assert_string_equal(event_text(f, "rolled_back"), "");
}

static void neighbours_that_die_at_once_in_the_midst_of_a_step_are_waited_for(void **state)
{
    struct fixture *f = *state;
    train_sharded(f, 0);
    vote_all(f, 0);
    die(f, 1);
    die(f, 2);
    int is_rolled_back = 0;
    for (int64_t waited_ms = 0; !is_rolled_back; waited_ms += 100) {
        assert_true(waited_ms < 3 * f->config.server.lost_ms);
        beat(f, 3, MEMBERS);
        beat(f, 4, MEMBERS);
        is_rolled_back = await(f, ACTION_JOURNAL, JOURNAL_ROLLBACK, 100) >= 0;
        assert_true(!is_rolled_back || waited_ms >= f->config.server.lost_ms);
    }
}

static void what_a_heartbeat_says_of_who_waits_is_believed(void **state)
{
    struct fixture *f = *state;
    train_sharded(f, 0);
    vote_all(f, 0);
    die(f, 1);
    die(f, 2);
    beat(f, 3, MEMBERS);
    tick(f, 100);
    assert_null(find_sent(f, 3, MESSAGE_REGROUP));
    beat(f, 3, 0); /* it heard the verdict, and no plan */
    assert_int_equal(source_told_to(f, 3), STATE_KEEP);
}

/* They are whole, though they keep neighbouring slices when they train. */
static void neighbours_leave_when_the_stream_is_dry(void **state)
{
    struct fixture *f = *state;
    f->config.optimizer.sharded = 1;
    for (uint64_t id = 1; id <= MEMBERS; id++) {
        hello(f, id, PROTOCOL_VERSION, 0);
        warm(f, id);
    }
    assert_true(await(f, ACTION_SEND, MESSAGE_REGROUP, 1000) >= 0);
    for (uint64_t id = 1; id <= 2; id++)
        say(f, id, (struct message){.kind = MESSAGE_LEAVE}, 0);
    for (uint64_t id = 1; id <= MEMBERS; id++)
        say(f, id, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = 9}}, 0);
    assert_string_not_equal(event_text(f, "stream_dry"), "");
    for (uint64_t id = 1; id <= 2; id++)
        assert_non_null(find_sent(f, id, MESSAGE_DISMISS));
}

static void after_the_last_step_one_member_is_enough_for_the_snapshot(void **state)
{
    struct fixture *f = *state;
    train_sharded(f, 1);
    vote_all(f, 0);
    const struct message *begin = find_sent(f, 3, MESSAGE_SNAPSHOT_BEGIN);
    assert_non_null(begin);
    assert_int_equal(begin->snapshot_begin.slice_count, 0);
    die(f, 1);
    die(f, 2);
    assert_string_equal(event_text(f, "state_lost"), "");
    begin = find_sent(f, 3, MESSAGE_SNAPSHOT_BEGIN);
    assert_non_null(begin);
    assert_int_equal(begin->snapshot_begin.share_count, 2);
    assert_int_equal(begin->snapshot_begin.slice_count, 0);
}

/* Without a shard. */
static int setup_dry(void **state)
{
    struct fixture *f = mem_zero(sizeof(*f));
    make(f);
    actions_init(&f->actions);
    actions_init(&f->journal);
    coordinator_start(f->coordinator, 0, &f->actions);
    *state = f;
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(those_who_have_every_slice_go_on_from_the_midst_of_a_step),
        coordinator_test(neighbours_that_die_at_once_in_the_midst_of_a_step_are_waited_for),
        coordinator_test(what_a_heartbeat_says_of_who_waits_is_believed),
        cmocka_unit_test_setup_teardown(neighbours_leave_when_the_stream_is_dry, setup_dry,
                                        teardown),
        coordinator_test(after_the_last_step_one_member_is_enough_for_the_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
