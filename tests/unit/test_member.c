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
};

static void handle(struct fixture *f, struct member_event event)
{
    member_actions_clear(&f->actions);
    member_handle(f->member, &event, &f->actions);
}

static void hear(struct fixture *f, struct message message, uint64_t epoch, uint64_t step)
{
    message.header = (struct message_header){
        .run = 1, .epoch = epoch, .generation = GENERATION, .step = step, .worker = WORKER};
    handle(f, (struct member_event){.kind = MEMBER_MESSAGE, .message = &message});
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
    hear(f, (struct message){.kind = MESSAGE_WELCOME, .welcome = {.name = "w", .config = "c"}}, 1,
         0);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_step_that_is_planned_again_is_voted_on_again, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_generation_that_broke_unheard_is_said_to_be_broken_again,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_step_that_is_decided_is_not_voted_on_again, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
