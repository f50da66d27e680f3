/* test_member.c - the worker's side of the protocol in situations that the simulation survives
 * either way, only slowly. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "worker/member.h"

enum { WORKER = 7, GENERATION = 1 };

struct fixture {
    struct member *member;
    struct member_actions actions; /* of the last event */
    uint64_t ticket;               /* of the newest COMPUTE */
};

static void handle(struct fixture *f, struct member_event event)
{
    member_actions_clear(&f->actions);
    member_handle(f->member, &event, &f->actions);
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == MEMBER_COMPUTE)
            f->ticket = f->actions.items[i].ticket;
}

static void hear_of(struct fixture *f, uint64_t generation, struct message message, uint64_t epoch,
                    uint64_t step)
{
    message.header = (struct message_header){
        .run = 1, .epoch = epoch, .generation = generation, .step = step, .worker = WORKER};
    handle(f, (struct member_event){.kind = MEMBER_MESSAGE, .message = &message});
}

static void hear(struct fixture *f, struct message message, uint64_t epoch, uint64_t step)
{
    hear_of(f, GENERATION, message, epoch, step);
}

/* The first such action (for sends: with that message); NULL = none. */
static const struct member_action *find(const struct fixture *f, enum member_action_kind kind,
                                        enum message_kind message)
{
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == kind &&
            (kind != MEMBER_SEND || f->actions.items[i].message.kind == message))
            return &f->actions.items[i];
    return NULL;
}

static uint64_t ticket_of(const struct fixture *f, enum member_action_kind kind)
{
    const struct member_action *action = find(f, kind, 0);
    assert_non_null(action);
    return action->ticket;
}

/* A member that has voted on step 0. */
static int setup(void **state)
{
    struct fixture *f = mem_zero(sizeof(*f));
    struct message_member self = {.worker = WORKER, .name = "w"};
    const struct message_ready ready = {.is_finite = 1, .digest = 3};
    const struct member_setup setup = {.worker = WORKER,
                                       .name = "w",
                                       .host = "h",
                                       .device = "cpu",
                                       .version = "1",
                                       .helper_address = "@h"};
    f->member = member_create(&setup);
    member_actions_init(&f->actions);
    handle(f, (struct member_event){.kind = MEMBER_CONNECTED});
    hear(f,
         (struct message){.kind = MESSAGE_WELCOME,
                          .welcome = {.name = "w", .config = "c", .slots = 3}},
         1, 0);
    assert_int_equal(find(f, MEMBER_CONFIGURE, 0)->slots, 3);
    handle(f, (struct member_event){.kind = MEMBER_CONFIGURED, .fingerprint = 5});
    hear(f,
         (struct message){.kind = MESSAGE_REGROUP,
                          .regroup = {.member_count = 1, .members = &self, .source = STATE_INIT}},
         1, 0);
    handle(f, (struct member_event){
                  .kind = MEMBER_FORMED, .ticket = ticket_of(f, MEMBER_FORM), .digest = 9});
    hear(f, (struct message){.kind = MESSAGE_PLAN}, 1, 0);
    handle(f, (struct member_event){.kind = MEMBER_COMPUTED,
                                    .ticket = ticket_of(f, MEMBER_COMPUTE),
                                    .ready = &ready});
    assert_non_null(find(f, MEMBER_SEND, MESSAGE_READY));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    member_actions_done(&f->actions);
    member_destroy(f->member);
    mem_free(f);
    return 0;
}

/* A server that is back takes no votes while it waits for the other members. What it plans then is
 * what it wants votes for. */
static void a_step_that_is_planned_again_is_voted_on_again(void **state)
{
    struct fixture *f = *state;
    handle(f, (struct member_event){.kind = MEMBER_DISCONNECTED});
    handle(f, (struct member_event){.kind = MEMBER_CONNECTED});
    hear(f, (struct message){.kind = MESSAGE_WELCOME, .welcome = {.name = "w", .config = "c"}}, 2,
         0);
    assert_non_null(find(f, MEMBER_SEND, MESSAGE_READY));
    hear(f, (struct message){.kind = MESSAGE_PLAN}, 2, 0);
    const struct member_action *vote = find(f, MEMBER_SEND, MESSAGE_READY);
    assert_non_null(vote);
    assert_int_equal(vote->message.ready.digest, 3);
    assert_int_equal(vote->message.header.generation, GENERATION);
    assert_null(find(f, MEMBER_COMPUTE, 0));
}

static void a_step_that_is_decided_is_not_voted_on_again(void **state)
{
    struct fixture *f = *state;
    hear(f, (struct message){.kind = MESSAGE_VERDICT, .verdict = {.is_commit = 1}}, 1, 0);
    assert_non_null(find(f, MEMBER_APPLY, 0));
    hear(f, (struct message){.kind = MESSAGE_PLAN}, 1, 0);
    assert_null(find(f, MEMBER_SEND, MESSAGE_READY));
}

static const struct message_hello *hello_again(struct fixture *f)
{
    handle(f, (struct member_event){.kind = MEMBER_DISCONNECTED});
    handle(f, (struct member_event){.kind = MEMBER_CONNECTED});
    const struct member_action *said = find(f, MEMBER_SEND, MESSAGE_HELLO);
    assert_non_null(said);
    return &said->message.hello;
}

/* It may be all that is left of the verdict: the server's host may have fallen. */
static void the_record_of_the_last_verdict_is_brought_back(void **state)
{
    struct fixture *f = *state;
    uint8_t record[] = "as the journal has it";
    assert_int_equal(hello_again(f)->record_length, 0);
    hear(f,
         (struct message){
             .kind = MESSAGE_VERDICT,
             .verdict = {.is_commit = 1, .record_length = sizeof(record), .record = record}},
         1, 0);
    const struct message_hello *hello = hello_again(f);
    assert_int_equal(hello->record_length, sizeof(record));
    assert_memory_equal(hello->record, record, sizeof(record));
}

/* Its word was lost with the connection; without it the others would wait for the deadline. */
static void a_generation_that_broke_unheard_is_said_to_be_broken_again(void **state)
{
    struct fixture *f = *state;
    struct message_member self = {.worker = WORKER, .name = "w"};
    struct message regroup = {
        .kind = MESSAGE_REGROUP,
        .header = {.run = 1, .epoch = 1, .generation = GENERATION + 1, .worker = WORKER},
        .regroup = {.member_count = 1, .members = &self, .source = STATE_KEEP}};
    handle(f, (struct member_event){.kind = MEMBER_MESSAGE, .message = &regroup});
    uint64_t ticket = ticket_of(f, MEMBER_FORM);
    handle(f, (struct member_event){.kind = MEMBER_MESSAGE, .message = &regroup});
    assert_int_equal(f->actions.count, 0); /* being formed: nothing to say */
    handle(f, (struct member_event){.kind = MEMBER_DISCONNECTED});
    handle(f, (struct member_event){.kind = MEMBER_JOB_FAILED, .ticket = ticket});
    handle(f, (struct member_event){.kind = MEMBER_CONNECTED});
    handle(f, (struct member_event){.kind = MEMBER_MESSAGE, .message = &regroup});
    const struct member_action *broken = find(f, MEMBER_SEND, MESSAGE_BROKEN);
    assert_non_null(broken);
    assert_int_equal(broken->message.header.generation, GENERATION + 1);
    assert_null(find(f, MEMBER_FORM, 0));
}

enum { NEXT = 4, NONCE = 77, EPOCH = 1 };

static const struct message commit = {.kind = MESSAGE_VERDICT, .verdict = {.is_commit = 1}};
static const struct message plan = {.kind = MESSAGE_PLAN};

static struct message regroup_of(uint64_t nonce, struct message_member *members)
{
    return (struct message){.kind = MESSAGE_REGROUP,
                            .regroup = {.engine = 1,
                                        .nonce = nonce,
                                        .member_count = 2,
                                        .members = members,
                                        .source = STATE_MEMBER}};
}

/* It trains step 1, and from step 2 on it is in generation NEXT, whose collective stands. */
static void prepare(struct fixture *f)
{
    struct message_member members[2] = {{.worker = WORKER}, {.worker = WORKER + 1}};
    hear(f, plan, EPOCH, 1);
    hear(f, commit, EPOCH, 0);
    hear_of(f, NEXT,
            (struct message){
                .kind = MESSAGE_PREPARE,
                .prepare = {.engine = 1, .nonce = NONCE, .member_count = 2, .members = members}},
            EPOCH, 1);
    const struct member_action *action = find(f, MEMBER_PREPARE, 0);
    assert_non_null(action);
    assert_null(find(f, MEMBER_ABANDON, 0));
    uint64_t ticket = action->ticket;
    hear_of(f, NEXT, plan, EPOCH, 2);
    assert_null(find(f, MEMBER_SUBMIT, 0)); /* not before it has said that it is prepared */
    handle(f, (struct member_event){.kind = MEMBER_PREPARED, .ticket = ticket});
    const struct member_action *prepared = find(f, MEMBER_SEND, MESSAGE_PREPARED);
    assert_non_null(prepared);
    assert_int_equal(prepared->message.header.generation, NEXT);
    assert_int_equal(prepared->message.prepared.nonce, NONCE);
    for (uint64_t step = 2; step <= 3; step++) {
        hear_of(f, NEXT, plan, EPOCH, step);
        assert_non_null(find(f, MEMBER_SUBMIT, 0));
    }
}

/* Votes on step 1, hears its verdict. */
static void end_step(struct fixture *f)
{
    const struct message_ready ready = {.is_finite = 1, .digest = 3};
    struct member_view view;
    handle(f, (struct member_event){.kind = MEMBER_COMPUTED, .ticket = f->ticket, .ready = &ready});
    assert_non_null(find(f, MEMBER_SEND, MESSAGE_READY));
    hear(f, commit, EPOCH, 1);
    assert_non_null(find(f, MEMBER_APPLY, 0));
    assert_null(find(f, MEMBER_COMPUTE, 0)); /* step 2 is the next generation's */
    member_view(f->member, &view);
    assert_int_equal(view.state, MEMBER_STATE_IDLE);
}

static void what_was_prepared_takes_over_and_its_plans_stay(void **state)
{
    struct fixture *f = *state;
    struct message_member members[2] = {{.worker = WORKER}, {.worker = WORKER + 1}};
    prepare(f);
    end_step(f);
    hear_of(f, NEXT, regroup_of(NONCE, members), EPOCH, 2);
    assert_null(find(f, MEMBER_ABANDON, 0));
    assert_null(find(f, MEMBER_FLUSH, 0));
    assert_true(find(f, MEMBER_FORM, 0)->takes_over);
    handle(f, (struct member_event){
                  .kind = MEMBER_FORMED, .ticket = ticket_of(f, MEMBER_FORM), .digest = 9});
    assert_null(find(f, MEMBER_COMPUTE, 0)); /* the others may not have formed */
    hear_of(f, NEXT, plan, EPOCH, 2);
    assert_null(find(f, MEMBER_SUBMIT, 0)); /* it is in the loader */
    assert_int_equal(find(f, MEMBER_COMPUTE, 0)->step, 2);
    hear_of(f, NEXT, plan, EPOCH, 4);
    assert_non_null(find(f, MEMBER_SUBMIT, 0));
}

static void a_generation_with_another_nonce_is_formed_anew(void **state)
{
    struct fixture *f = *state;
    struct message_member members[2] = {{.worker = WORKER}, {.worker = WORKER + 1}};
    prepare(f);
    end_step(f);
    hear_of(f, NEXT, regroup_of(NONCE + 1, members), EPOCH, 2);
    assert_non_null(find(f, MEMBER_ABANDON, 0));
    assert_non_null(find(f, MEMBER_FLUSH, 0));
    assert_false(find(f, MEMBER_FORM, 0)->takes_over);
}

static void a_server_that_is_back_knows_nothing_of_what_was_prepared(void **state)
{
    struct fixture *f = *state;
    struct message_member members[2] = {{.worker = WORKER}, {.worker = WORKER + 1}};
    prepare(f);
    handle(f, (struct member_event){.kind = MEMBER_DISCONNECTED});
    handle(f, (struct member_event){.kind = MEMBER_CONNECTED});
    hear(f, (struct message){.kind = MESSAGE_WELCOME, .welcome = {.name = "w", .config = "c"}},
         EPOCH + 1, 0);
    assert_int_equal(find(f, MEMBER_FLUSH, 0)->step, 2); /* step 1 is being computed */
    assert_null(find(f, MEMBER_ABANDON, 0));
    hear(f, plan, EPOCH + 1, 2);
    assert_non_null(find(f, MEMBER_SUBMIT, 0)); /* it is this generation's again */
    hear_of(f, NEXT, regroup_of(NONCE, members), EPOCH + 1, 1);
    assert_false(find(f, MEMBER_FORM, 0)->takes_over);
}

static void who_cannot_prepare_says_so_and_trains_on(void **state)
{
    struct fixture *f = *state;
    hear_of(f, NEXT, (struct message){.kind = MESSAGE_PREPARE}, EPOCH, 0);
    uint64_t ticket = ticket_of(f, MEMBER_PREPARE);
    handle(f, (struct member_event){
                  .kind = MEMBER_PREPARE_FAILED, .ticket = ticket, .reason = "no helper"});
    const struct member_action *broken = find(f, MEMBER_SEND, MESSAGE_BROKEN);
    assert_int_equal(broken->message.header.generation, NEXT);
    assert_string_equal(broken->message.broken.reason, "no helper");
    assert_null(find(f, MEMBER_ABANDON, 0));
    hear(f, commit, EPOCH, 0);
    assert_non_null(find(f, MEMBER_APPLY, 0));
    handle(f, (struct member_event){.kind = MEMBER_PREPARED, .ticket = ticket}); /* of the past */
    assert_null(find(f, MEMBER_SEND, MESSAGE_PREPARED));
}

static void a_failed_step_takes_what_was_prepared_along_and_says_so(void **state)
{
    struct fixture *f = *state;
    prepare(f);
    handle(f, (struct member_event){
                  .kind = MEMBER_JOB_FAILED, .ticket = f->ticket, .reason = "a member died"});
    assert_non_null(find(f, MEMBER_ABANDON, 0));
    uint32_t said[NEXT + 1] = {0};
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == MEMBER_SEND)
            said[f->actions.items[i].message.header.generation]++;
    assert_int_equal(said[GENERATION], 1);
    assert_int_equal(said[NEXT], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_step_that_is_planned_again_is_voted_on_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_generation_that_broke_unheard_is_said_to_be_broken_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_that_is_decided_is_not_voted_on_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(the_record_of_the_last_verdict_is_brought_back, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_was_prepared_takes_over_and_its_plans_stay, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_generation_with_another_nonce_is_formed_anew, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_server_that_is_back_knows_nothing_of_what_was_prepared,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(who_cannot_prepare_says_so_and_trains_on, setup, teardown),
        cmocka_unit_test_setup_teardown(a_failed_step_takes_what_was_prepared_along_and_says_so,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
