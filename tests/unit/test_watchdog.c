/* test_watchdog.c - a worker with a thread that hangs ends itself, one that only waits does not. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include <poll.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/watchdog.h"

enum { HANG_MS = 1000, LIFE_MS = 3 * HANG_MS, TURN_MS = 50 };

/* What a worker's threads do for LIFE_MS. */
struct life {
    int is_turning;   /* the link's loop goes round */
    int is_abandoned; /* the running job is */
    int is_moving;    /* the training thread gets something done */
};

/* In a child, so that it may end. Returns its exit code; 0: it lived through it. */
static int live(struct life life)
{
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child > 0) {
        int state;
        assert_int_equal(waitpid(child, &state, 0), child);
        return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
    }
    struct handover handover;
    struct step_progress progress = {0};
    struct watchdog watchdog;
    struct member_action action = {.kind = MEMBER_COMPUTE};
    if (handover_init(&handover) != OK)
        _exit(1);
    struct job *job = job_create(&action);
    handover_order(&handover, &job);
    job = handover_job(&handover);
    if (watchdog_start(&watchdog, &handover, &progress, HANG_MS) != OK)
        _exit(1);
    if (life.is_abandoned)
        handover_abandon(&handover);
    for (int ms = 0; ms < LIFE_MS; ms += TURN_MS) {
        atomic_fetch_add(&handover.turns, (uint64_t)life.is_turning);
        atomic_fetch_add(&progress.progress, (uint64_t)life.is_moving);
        poll(NULL, 0, TURN_MS);
    }
    watchdog_stop(&watchdog);
    job_end(&handover, job);
    handover_done(&handover);
    _exit(0);
}

static void a_link_that_does_not_go_round_ends_the_worker(void **state)
{
    (void)state;
    assert_int_equal(live((struct life){.is_moving = 1}), WATCHDOG_EXIT);
}

static void a_training_thread_that_does_not_leave_an_abandoned_step_ends_the_worker(void **state)
{
    (void)state;
    assert_int_equal(live((struct life){.is_turning = 1, .is_abandoned = 1}), WATCHDOG_EXIT);
}

static void a_step_may_stand_still_while_the_server_bears_it(void **state)
{
    (void)state;
    assert_int_equal(live((struct life){.is_turning = 1}), 0);
}

static void an_abandoned_step_that_still_computes_is_waited_for(void **state)
{
    (void)state;
    assert_int_equal(live((struct life){.is_turning = 1, .is_abandoned = 1, .is_moving = 1}), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_link_that_does_not_go_round_ends_the_worker),
        cmocka_unit_test(a_training_thread_that_does_not_leave_an_abandoned_step_ends_the_worker),
        cmocka_unit_test(a_step_may_stand_still_while_the_server_bears_it),
        cmocka_unit_test(an_abandoned_step_that_still_computes_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
