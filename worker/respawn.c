/* respawn.c - fork, wait, back off. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/respawn.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"

enum {
    BACK_OFF_MIN_MS = 100, /* a death by chance costs no more */
    BACK_OFF_MAX_MS = 30000,
    HEALTHY_TIMES = 10, /* who lived so many times its last wait starts at the shortest again */
    RESTART_ABOVE = 2,  /* exit codes up to here are answers, not accidents */
    EXIT_BY_SIGNAL = 128,
};

static sigset_t watched_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGCHLD);
    return signals;
}

static pid_t start_child(int (*run)(void *argument), void *argument, const sigset_t *before)
{
    pid_t parent = getpid(), child = fork();
    if (child != 0)
        return child;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0); /* a terminal's Ctrl-C reaches it through us, once */
    sigprocmask(SIG_SETMASK, before, NULL);
    if (getppid() != parent)
        _exit(EXIT_BY_SIGNAL + SIGKILL);
    _exit(run(argument));
}

/* Waits for its end and passes signals on. */
static int wait_child(pid_t child, const sigset_t *signals, int *is_stopping)
{
    for (;;) {
        int state;
        if (waitpid(child, &state, WNOHANG) == child)
            return WIFSIGNALED(state) ? EXIT_BY_SIGNAL + WTERMSIG(state) : WEXITSTATUS(state);
        int number = sigwaitinfo(signals, NULL);
        if (number == SIGTERM || number == SIGINT) {
            *is_stopping = 1;
            kill(child, number);
        }
    }
}

/* Returns 1 if a signal ended the wait. */
static int back_off(int64_t wait_ms)
{
    sigset_t signals = watched_signals();
    sigdelset(&signals, SIGCHLD);
    struct timespec wait = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    return sigtimedwait(&signals, NULL, &wait) > 0;
}

int respawn(int (*run)(void *argument), void *argument)
{
    sigset_t signals = watched_signals(), before;
    sigprocmask(SIG_BLOCK, &signals, &before);
    int64_t wait_ms = BACK_OFF_MIN_MS;
    for (int is_stopping = 0;;) {
        int64_t start_ms = clock_ms();
        pid_t child = start_child(run, argument, &before);
        if (child < 0) {
            log_error("event=fork_failed reason=\"%s\"", strerror(errno));
            return 1;
        }
        int code = wait_child(child, &signals, &is_stopping);
        if (code <= RESTART_ABOVE || is_stopping)
            return code;
        if (clock_ms() - start_ms > HEALTHY_TIMES * wait_ms)
            wait_ms = BACK_OFF_MIN_MS;
        log_warn("event=worker_died pid=%d code=%d action=\"start it again\" wait_ms=%lld",
                 (int)child, code, (long long)wait_ms);
        if (back_off(wait_ms))
            return code;
        wait_ms = wait_ms * 2 < BACK_OFF_MAX_MS ? wait_ms * 2 : BACK_OFF_MAX_MS;
    }
}
