/* test_blame.c - who holds a step up is named, and only then something is done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <string.h>

#include "common/mem.h"
#include "server/blame.h"
#include "server/deal.h"
#include "server/round.h"

enum { MEMBERS = 3, GENERATION = 7 };

struct fixture {
    struct config config;
    struct coordinator c;
    struct actions actions;
};

/* Three members compute step 100; each phase of the steps before took them usual_ms. */
static void make(struct fixture *f, int64_t usual_ms)
{
    *f = (struct fixture){0};
    config_init(&f->config);
    actions_init(&f->actions);
    f->c.config = &f->config;
    f->c.out = &f->actions;
    f->c.generation = GENERATION;
    f->c.world_size = MEMBERS;
    roster_init(&f->c.roster);
    for (uint64_t i = 0; i < MEMBERS; i++) {
        struct worker *worker =
            roster_add(&f->c.roster, i + 1, &(struct message_hello){.name = "w"});
        worker->rank = (int)i;
        worker->connection = i + 1;
        worker->heartbeat_generation = GENERATION;
    }
    deal_evenly(&f->c, MEMBERS);
    for (int phase = PHASE_FORWARD; phase <= PHASE_REDUCE; phase++)
        f->c.last.phase_us[phase] = usual_ms * 1000;
    f->c.last.step_ms = usual_ms;
    for (f->c.step = 0; f->c.step < 100; f->c.step++)
        blame_learn(&f->c);
    round_prepare(&f->c);
    f->c.planned = f->c.step + 1;
    f->c.state = RUN_TRAINING;
}

static void unmake(struct fixture *f)
{
    round_clear(&f->c);
    mem_free(f->c.deal.starts);
    mem_free(f->c.deal.starts_before);
    roster_done(&f->c.roster);
    actions_done(&f->actions);
}

/* What the next heartbeats say of a member; it does not move any more. */
static void stand(struct fixture *f, int member, enum worker_phase phase, uint64_t operations)
{
    struct worker *worker = &f->c.roster.workers[member];
    worker->heartbeat_step = f->c.step;
    worker->heartbeat.phase = phase;
    worker->heartbeat.operations = operations;
}

/* Time goes by; all but `silent` send heartbeats. Stops when somebody is blamed. */
static void wait(struct fixture *f, int64_t ms, int silent)
{
    for (int64_t end_ms = f->c.now_ms + ms; f->c.now_ms < end_ms && f->actions.count == 0;) {
        f->c.now_ms += 50;
        for (int i = 0; i < MEMBERS; i++)
            if (i != silent)
                f->c.roster.workers[i].heard_ms = f->c.now_ms;
        blame_check(&f->c);
    }
}

static const char *event(const struct fixture *f, const char *kind)
{
    for (uint32_t i = 0; i < f->actions.count; i++)
        if (f->actions.items[i].kind == ACTION_EVENT &&
            strcmp(f->actions.items[i].event.kind, kind) == 0)
            return f->actions.items[i].event.text;
    return "";
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, text);
}

static void who_stands_before_an_operation_of_the_others_is_sent_away(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    stand(&f, 0, PHASE_BACKWARD, 40);
    stand(&f, 1, PHASE_BACKWARD, 39);
    stand(&f, 2, PHASE_BACKWARD, 40);
    wait(&f, 2000, -1);
    assert_int_equal(f.actions.count, 0);
    wait(&f, 200, -1);
    assert_has(event(&f, "standstill"), "culprit=\"w-2\"");
    assert_has(event(&f, "standstill"), "step=100 phase=backward operations=39 still_ms=2050");
    assert_has(event(&f, "worker_lost"), "worker=w-2");
    assert_int_equal(f.c.roster.count, 2);
    unmake(&f);
}

/* As a decode thread that was stopped for a while: all wait for its worker, then it goes on. */
static void who_waited_is_not_blamed_when_the_culprit_goes_on(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    stand(&f, 0, PHASE_DATA, 39);
    stand(&f, 1, PHASE_FORWARD, 40);
    stand(&f, 2, PHASE_FORWARD, 40);
    wait(&f, 2500, -1);
    assert_has(event(&f, "standstill"), "culprit=\"w\"");
    actions_clear(&f.actions);
    f.c.roster.workers[0].moved_ms = f.c.now_ms;
    stand(&f, 0, PHASE_BACKWARD, 50);
    wait(&f, 1000, -1); /* the others' heartbeats are late */
    assert_int_equal(f.actions.count, 0);
    assert_int_equal(f.c.roster.count, MEMBERS);
    wait(&f, 2000, -1);
    assert_has(event(&f, "worker_lost"), "worker=w-2");
    unmake(&f);
}

static void a_helper_that_hangs_is_named_and_replaced(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    for (int i = 0; i < MEMBERS; i++)
        stand(&f, i, PHASE_FORWARD, 40);
    f.c.roster.workers[2].heartbeat.helper_ms = 2000;
    wait(&f, 2500, -1);
    assert_has(event(&f, "standstill"), "culprit=\"helper of w-3\"");
    assert_has(event(&f, "generation_ended"), "the helper of w-3 hangs");
    assert_int_equal(f.c.roster.count, 3);
    unmake(&f);
}

static void a_member_that_hangs_for_its_helper_is_not_sent_away(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    stand(&f, 0, PHASE_FORWARD, 40);
    stand(&f, 1, PHASE_FORWARD, 39);
    stand(&f, 2, PHASE_FORWARD, 40);
    f.c.roster.workers[1].heartbeat.helper_ms = 1200; /* seen later than the standstill */
    wait(&f, 2500, -1);
    assert_has(event(&f, "standstill"), "culprit=\"helper of w-2\"");
    assert_int_equal(f.c.roster.count, 3);
    unmake(&f);
}

static void if_it_cannot_be_told_all_are_named_and_nobody_is_sent_away(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    stand(&f, 0, PHASE_FORWARD, 40);
    stand(&f, 1, PHASE_FORWARD, 40);
    stand(&f, 2, PHASE_FORWARD, 40);
    wait(&f, 2500, -1);
    assert_has(event(&f, "standstill"), "culprit=\"one of w w-2 w-3\"");
    assert_has(event(&f, "generation_ended"), "same operation");
    assert_int_equal(f.c.roster.count, 3);
    unmake(&f);
}

static void who_falls_silent_is_named_before_lost_ms_tells(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    for (int i = 0; i < MEMBERS; i++)
        stand(&f, i, PHASE_FORWARD, 40);
    wait(&f, 2500, 1);
    assert_has(event(&f, "standstill"), "culprit=\"w-2\"");
    assert_has(event(&f, "standstill"), "heartbeat_age_ms=2050");
    assert_int_equal(f.c.roster.count, 3);
    unmake(&f);
}

static void who_goes_on_after_a_stop_is_not_sent_away(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    for (int i = 0; i < MEMBERS; i++)
        stand(&f, i, PHASE_FORWARD, 40);
    wait(&f, 2500, 1);
    assert_has(event(&f, "standstill"), "culprit=\"w-2\"");
    actions_clear(&f.actions);
    f.c.roster.workers[1].moved_ms = f.c.now_ms; /* as its first heartbeat after the silence does */
    wait(&f, 1500, -1);
    assert_int_equal(f.actions.count, 0);
    unmake(&f);
}

static void who_waits_for_images_is_named_but_not_sent_away(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 100);
    stand(&f, 0, PHASE_DATA, 0);
    stand(&f, 1, PHASE_FORWARD, 1);
    stand(&f, 2, PHASE_FORWARD, 1);
    wait(&f, 2500, -1);
    assert_has(event(&f, "standstill"), "culprit=\"w\"");
    assert_int_equal(f.actions.count, 1);
    actions_clear(&f.actions);
    wait(&f, f.config.server.step_ms - 3000, -1);
    assert_int_equal(f.actions.count, 0);
    wait(&f, 3000, -1);
    assert_has(event(&f, "worker_lost"), "step_ms");
    unmake(&f);
}

static void deadlines_follow_what_phases_take(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 3000);
    assert_int_equal(blame_deadline_ms(&f.c, PHASE_FORWARD), 15000);
    f.c.blame.doublings = 2; /* it was hasty twice */
    assert_int_equal(blame_deadline_ms(&f.c, PHASE_FORWARD), 60000);
    f.c.deal.step = f.c.step; /* members plan their memory anew */
    assert_int_equal(blame_deadline_ms(&f.c, PHASE_FORWARD), f.config.server.step_ms);
    unmake(&f);
    make(&f, 10);
    assert_int_equal(blame_deadline_ms(&f.c, PHASE_FORWARD), 2000);
    f.c.blame.count = 15; /* no experience yet */
    assert_int_equal(blame_deadline_ms(&f.c, PHASE_FORWARD), f.config.server.step_ms);
    unmake(&f);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_stands_before_an_operation_of_the_others_is_sent_away),
        cmocka_unit_test(who_waited_is_not_blamed_when_the_culprit_goes_on),
        cmocka_unit_test(a_helper_that_hangs_is_named_and_replaced),
        cmocka_unit_test(a_member_that_hangs_for_its_helper_is_not_sent_away),
        cmocka_unit_test(if_it_cannot_be_told_all_are_named_and_nobody_is_sent_away),
        cmocka_unit_test(who_falls_silent_is_named_before_lost_ms_tells),
        cmocka_unit_test(who_goes_on_after_a_stop_is_not_sent_away),
        cmocka_unit_test(who_waits_for_images_is_named_but_not_sent_away),
        cmocka_unit_test(deadlines_follow_what_phases_take),
        cmocka_unit_test(the_one_furthest_behind_is_blamed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
