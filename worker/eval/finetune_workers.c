/* finetune_workers.c - finetuning as one process, or as several of this host that share the work.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/finetune_workers.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "common/command.h"
#include "worker/collective/local_group.h"

enum {
    /* Large models take a while to open, each at its own pace. */
    FORM_MS = 10 * 60 * 1000,
    /* Longer than any member may be ahead of another: a test of its share of the pictures. */
    OPERATION_MS = 60 * 60 * 1000,
};

/* Of one member, in its process. */
struct membership {
    const struct finetune_work *work;
    struct finetune *finetune;
};

static enum status open_member(void *argument, struct collective_group *form)
{
    struct membership *membership = argument;
    struct trial *trial = membership->work->trial;
    TRY(trial_open_device(trial, form->rank, form->size));
    TRY(finetune_create(trial, membership->work->rule, &membership->finetune));
    finetune_describe(membership->finetune, form);
    return OK;
}

static int run_member(struct collective *collective, float *region, void *argument)
{
    struct membership *membership = argument;
    const struct finetune_work *work = membership->work;
    (void)region;
    finetune_join(membership->finetune, collective);
    const int code = command_exit(work->program, work->run(membership->finetune, work->argument));
    fflush(stdout); /* a member leaves by _exit */
    return code;
}

/* What went wrong was said by who it went wrong for, unless it was killed. */
static int exit_code_of(const struct finetune_work *work, const int *ended)
{
    int code = 0;
    for (int rank = 0; rank < work->workers; rank++) {
        if (WIFSIGNALED(ended[rank]))
            return command_exit(work->program,
                                fail(ERR_DEVICE,
                                     "worker %d of %d was ended by signal %d; --resume goes on "
                                     "from the last epoch that was kept",
                                     rank, work->workers, WTERMSIG(ended[rank])));
        if (WEXITSTATUS(ended[rank]) != 0 && code != 2)
            code = WEXITSTATUS(ended[rank]) == 2 ? 2 : 1;
    }
    return code;
}

/* Who ends the command ends its workers, and what they leave is cleaned up, before it ends. */
static const struct local_group *workers;
static volatile sig_atomic_t ended_by;

static void end_workers(int number)
{
    ended_by = number;
    for (int rank = 0; rank < workers->size; rank++)
        if (workers->members[rank] > 0)
            kill(workers->members[rank], SIGTERM);
}

static void on_ends(void (*handler)(int number))
{
    const struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static int run_several(const struct finetune_work *work)
{
    static struct local_group group;
    struct membership membership = {.work = work};
    const struct local_member member = {
        .run = run_member,
        .argument = &membership,
        .timeout_ms = OPERATION_MS,
        .open = open_member,
        .form_timeout_ms = FORM_MS,
    };
    int ended[LOCAL_MEMBERS_MAX] = {0};
    const enum status status = local_group_start(&group, work->workers, 0, &member);
    if (status != OK)
        command_exit(work->program, status);
    workers = &group;
    on_ends(end_workers);
    local_group_end(&group, ended);
    on_ends(SIG_DFL);
    if (ended_by != 0)
        raise(ended_by);
    return status != OK ? status_exit_code(status) : exit_code_of(work, ended);
}

static enum status run_alone(const struct finetune_work *work)
{
    enum status status = OK;
    struct membership alone = {.work = work};
    struct collective *collective = NULL;
    struct collective_group form = {
        .engine = COLLECTIVE_SELF,
        .size = 1,
        .listen_fd = -1,
        .form_timeout_ms = FORM_MS,
        .timeout_ms = OPERATION_MS,
    };
    TRY_OUT(open_member(&alone, &form));
    TRY_OUT(collective_form(&form, &collective));
    finetune_join(alone.finetune, collective);
    status = work->run(alone.finetune, work->argument);
out:
    collective_destroy(collective);
    finetune_destroy(alone.finetune);
    return status;
}

int finetune_work_run(const struct finetune_work *work)
{
    return work->workers > 1 ? run_several(work) : command_exit(work->program, run_alone(work));
}
