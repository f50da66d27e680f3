/* test_agreement.c - members that computed differently: who is believed, and what is told of it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/unit/coordinator_fixture.h"

#include <stdlib.h>

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

static void the_event_names_each_members_digest_and_the_majoritys_right(void **state)
{
    struct fixture *f = *state;
    train(f, 3);
    vote(f, 1, 0, 4, 1);
    vote(f, 2, 0, 3, 1);
    vote(f, 3, 0, 3, 1);
    assert_string_equal(event_text(f, "digests_differ"),
                        "generation=1 step=0 of=gradient right=0000000000000003 rule=majority "
                        "members=w:0000000000000004,w-2:0000000000000003,w-3:0000000000000003 "
                        "sent_away=none");
}

static void of_two_the_first_rank_is_believed_and_that_is_said(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    vote(f, 1, 0, 0xabc, 1);
    vote(f, 2, 0, 0xdef, 1);
    assert_string_equal(event_text(f, "digests_differ"),
                        "generation=1 step=0 of=gradient right=0000000000000abc rule=first_rank "
                        "members=w-2:0000000000000def,w:0000000000000abc sent_away=none");
}

static void vote_on_parameters(struct fixture *f, uint64_t id, uint64_t parameter_digest)
{
    say(f, id,
        (struct message){.kind = MESSAGE_READY,
                         .ready = {.is_finite = 1,
                                   .loss = 2.0,
                                   .digest = 3,
                                   .parameter_digest = parameter_digest,
                                   .images = 4}},
        0);
}

static void parameters_are_told_from_gradients(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    vote_on_parameters(f, 1, 5);
    vote_on_parameters(f, 2, 6);
    assert_non_null(strstr(event_text(f, "digests_differ"), " of=parameters right="));
}

static void say_formed(struct fixture *f, uint64_t id, uint64_t step, uint64_t digest)
{
    say(f, id, (struct message){.kind = MESSAGE_FORMED, .formed = {.digest = digest}}, step);
}

/* Worker 1 dies after a step, and worker 3 gets the state of worker 2, which is said in Regroup. */
static void form_from_a_giver(struct fixture *f)
{
    train(f, 2);
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 3, 1);
    hello(f, 3, PROTOCOL_VERSION, 0);
    warm(f, 3);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED, .worker = 1});
    const struct message *regroup = find_sent(f, 3, MESSAGE_REGROUP);
    assert_int_equal(regroup->regroup.source, STATE_MEMBER);
    assert_int_equal(regroup->regroup.source_rank, 0);
}

static void who_gave_the_state_is_believed_of_it(void **state)
{
    struct fixture *f = *state;
    form_from_a_giver(f);
    say_formed(f, 3, 1, 8);
    say_formed(f, 2, 1, 7);
    assert_non_null(strstr(event_text(f, "state_differs"),
                           " step=1 of=state right=0000000000000007 rule=giver_of_state members="
                           "w-3:0000000000000008,w-2:0000000000000007 sent_away=none"));
}

static void a_state_that_nobody_gave_is_the_first_ranks(void **state)
{
    struct fixture *f = *state;
    for (uint64_t id = 1; id <= 2; id++) {
        hello(f, id, PROTOCOL_VERSION, 0);
        warm(f, id);
    }
    assert_true(await(f, ACTION_SEND, MESSAGE_REGROUP, 1000) >= 0);
    say_formed(f, 1, 0, 8); /* from the seed, each for itself */
    say_formed(f, 2, 0, 7);
    assert_non_null(strstr(event_text(f, "state_differs"),
                           " right=0000000000000008 rule=first_rank members=w-2:"));
}

static void who_differs_twice_in_a_row_is_named_and_sent_away(void **state)
{
    struct fixture *f = *state;
    train(f, 2);
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 4, 1);
    assert_null(find_sent(f, 2, MESSAGE_REJECT));
    assert_true(find_sent(f, 1, MESSAGE_REGROUP) != NULL ||
                await(f, ACTION_SEND, MESSAGE_REGROUP, 1000) >= 0);
    say_formed(f, 1, 0, 9);
    say_formed(f, 2, 0, 9);
    vote(f, 1, 0, 3, 1);
    vote(f, 2, 0, 4, 1);
    assert_non_null(strstr(event_text(f, "digests_differ"), " sent_away=w-2"));
    assert_true(find_sent(f, 2, MESSAGE_REJECT)->reject.is_final);
    assert_null(find_sent(f, 1, MESSAGE_REJECT));
}

enum { CROWD = 40 }; /* more than an event has room for */

static void of_a_crowd_those_who_are_wrong_come_first_and_the_rest_is_counted(void **state)
{
    struct fixture *f = *state;
    f->config.train.batch_images = 2 * CROWD;
    coordinator_destroy(f->coordinator);
    f->coordinator = coordinator_create(&(struct coordinator_setup){
        .config = &f->config, .config_text = "train: {}\n", .run = 7, .entropy = 1, .boot = 5});
    coordinator_start(f->coordinator, 0, &f->actions);
    handle(f, (struct coordinator_event){.kind = COORDINATOR_SHARD_FOUND,
                                         .shard = {.path = "store/a", .records = 10000}});
    train(f, CROWD);
    for (uint64_t id = 1; id <= CROWD; id++)
        vote(f, id, 0, id == 38 ? 4 : 3, 1);
    const char *text = event_text(f, "digests_differ");
    assert_non_null(strstr(text, " members=w-38:0000000000000004,w:0000000000000003,w-2:"));
    assert_non_null(strstr(text, ",+"));
    assert_non_null(strstr(text, " sent_away=none")); /* nothing was cut off */
    int listed = 0;
    for (const char *at = text; (at = strstr(at, ":00000000")) != NULL; at++)
        listed++;
    assert_int_equal(listed + (int)strtol(strstr(text, ",+") + 2, NULL, 10), CROWD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        coordinator_test(members_with_different_gradients_commit_nothing),
        coordinator_test(the_event_names_each_members_digest_and_the_majoritys_right),
        coordinator_test(of_two_the_first_rank_is_believed_and_that_is_said),
        coordinator_test(parameters_are_told_from_gradients),
        coordinator_test(who_gave_the_state_is_believed_of_it),
        coordinator_test(a_state_that_nobody_gave_is_the_first_ranks),
        coordinator_test(who_differs_twice_in_a_row_is_named_and_sent_away),
        coordinator_test(of_a_crowd_those_who_are_wrong_come_first_and_the_rest_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
