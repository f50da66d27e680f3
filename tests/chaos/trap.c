/* trap.c - makes a worker stop or die exactly where a phase begins.
 *
 * Linked into seer-worker-trapped: the worker as it is, with the functions at the border of each
 * phase wrapped (ld --wrap, see chaos.cmake). A real-time signal sets the trap: SIGRTMIN + 2 *
 * phase for SIGKILL, one more for SIGSTOP; the thread that comes next to that border springs it. Of
 * APPLY the border is in the middle: parameters are new, running statistics and queue are old. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#include "common/check.h"
#include "worker/handover.h"
#include "worker/model/model.h"
#include "worker/step.h"
#include "worker/swav/swav.h"

enum { NONE = -1 };

static _Atomic int armed = NONE; /* 2 * phase + is_stop */

static void trap_arm(int number)
{
    atomic_store(&armed, number - SIGRTMIN);
}

/* Before main: whoever starts a worker may set traps at once. The handler has a stack of its own:
 * see dnnl_conv.c. Only the main thread hears signals, and a child that it forks has its stack. */
__attribute__((constructor)) static void trap_init(void)
{
    static char stack[1 << 16]; /* AVX-512's registers are saved there */
    CHECK(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof(stack)}, NULL) == 0);
    struct sigaction action = {.sa_handler = trap_arm, .sa_flags = SA_RESTART | SA_ONSTACK};
    for (int i = 0; i < 2 * PHASE_COUNT; i++)
        CHECK(sigaction(SIGRTMIN + i, &action, NULL) == 0);
}

static void trap_pass(enum worker_phase phase)
{
    for (int is_stop = 0; is_stop < 2; is_stop++) {
        int mine = 2 * (int)phase + is_stop;
        if (atomic_compare_exchange_strong(&armed, &mine, NONE))
            kill(getpid(), is_stop ? SIGSTOP : SIGKILL);
    }
}

#define TRAP_BEFORE(phase, function, parameters, arguments)                                        \
    enum status __real_##function parameters;                                                      \
    enum status __wrap_##function parameters;                                                      \
    enum status __wrap_##function parameters                                                       \
    {                                                                                              \
        trap_pass(phase);                                                                          \
        return __real_##function arguments;                                                        \
    }

TRAP_BEFORE(PHASE_FORM, collective_form,
            (const struct collective_group *group, struct collective **ret_collective),
            (group, ret_collective))
TRAP_BEFORE(PHASE_DATA, loader_take,
            (struct loader * loader, int64_t deadline_ms, struct batch **ret_batch),
            (loader, deadline_ms, ret_batch))
TRAP_BEFORE(PHASE_FORWARD, model_forward, (struct model * model), (model))
TRAP_BEFORE(PHASE_LOSS, swav_codes, (struct swav * swav, uint64_t number), (swav, number))
TRAP_BEFORE(PHASE_BACKWARD, model_backward, (struct model * model, struct buckets *buckets),
            (model, buckets))
TRAP_BEFORE(PHASE_REDUCE, buckets_finish, (struct buckets * buckets), (buckets))

void __real_handover_tell(struct handover *handover, struct report **report);
void __wrap_handover_tell(struct handover *handover, struct report **report);
void __wrap_handover_tell(struct handover *handover, struct report **report)
{
    int is_vote = (*report)->kind == REPORT_COMPUTED;
    __real_handover_tell(handover, report);
    if (is_vote)
        trap_pass(PHASE_READY);
}

void __real_feature_queue_push(struct feature_queue *queue);
void __wrap_feature_queue_push(struct feature_queue *queue);
void __wrap_feature_queue_push(struct feature_queue *queue)
{
    trap_pass(PHASE_APPLY);
    __real_feature_queue_push(queue);
}
