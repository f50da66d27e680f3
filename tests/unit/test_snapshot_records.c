/* test_snapshot_records.c - which snapshots are taken, kept, removed and restored from. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

static void a_stop_takes_a_snapshot_first_and_then_finishes(void **state)
{
    struct fixture *f = *state;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    handle(f, (struct coordinator_event){
                  .kind = COORDINATOR_COMMAND,
                  .command = {.command = COMMAND_STOP, .request = 1, .argument = ""}});
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

static void a_snapshot_that_nobody_pushes_is_given_up_and_the_next_begins(void **state)
{
    struct fixture *f = *state;
    f->config.snapshot.every_steps = 2;
    f->config.snapshot.push_ms = 2 * COORDINATOR_TICK_MS;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    vote(f, 1, 1, 3, 1);
    assert_true(find(f, ACTION_EXPECT_SNAPSHOT, 0) >= 0);
    tick(f, COORDINATOR_TICK_MS);
    assert_int_equal(find(f, ACTION_DROP_SNAPSHOT, 0), -1);
    tick(f, COORDINATOR_TICK_MS);
    int drop = find(f, ACTION_DROP_SNAPSHOT, 0);
    assert_true(drop >= 0);
    assert_string_equal(f->actions.items[drop].snapshot.name, "step-000000002");
    assert_non_null(strstr(event_text(f, "snapshot_failed"), "snapshot.push_ms"));
    tick(f, COORDINATOR_TICK_MS);
    assert_int_equal(find(f, ACTION_DROP_SNAPSHOT, 0), -1);
    vote(f, 1, 2, 3, 1);
    vote(f, 1, 3, 3, 1);
    assert_true(find(f, ACTION_EXPECT_SNAPSHOT, 0) >= 0);
}

static void the_last_snapshot_is_begun_anew_within_a_third_of_that_time(void **state)
{
    struct fixture *f = *state;
    f->config.snapshot.push_ms = 6 * COORDINATOR_TICK_MS;
    train(f, 1);
    vote(f, 1, 0, 3, 1);
    order(f, COMMAND_STOP, "");
    vote(f, 1, 1, 3, 1);
    assert_true(find(f, ACTION_EXPECT_SNAPSHOT, 0) >= 0);
    tick(f, COORDINATOR_TICK_MS);
    assert_int_equal(find(f, ACTION_DROP_SNAPSHOT, 0), -1);
    tick(f, COORDINATOR_TICK_MS);
    assert_true(find(f, ACTION_DROP_SNAPSHOT, 0) >= 0);
    assert_true(find(f, ACTION_EXPECT_SNAPSHOT, 0) >= 0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(a_stop_takes_a_snapshot_first_and_then_finishes),
        coordinator_test(a_snapshot_that_was_due_while_another_was_taken_comes_after_it),
        coordinator_test(a_snapshot_that_nobody_pushes_is_given_up_and_the_next_begins),
        coordinator_test(the_last_snapshot_is_begun_anew_within_a_third_of_that_time),
        coordinator_test(a_removed_snapshot_is_never_restored_from_again),
        coordinator_test(a_name_that_is_used_again_is_of_the_new_file_only),
        coordinator_test(retention_leaves_the_newest_snapshot_alone),
        coordinator_test(a_snapshot_that_a_restore_reads_is_not_removed),
        coordinator_test(a_snapshot_that_became_complete_too_late_is_removed),
        coordinator_test(what_is_not_removed_may_be_pinned_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
