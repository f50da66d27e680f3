/* dashboard_child.c - the page of a run, as a process that lives as long as its server. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/dashboard_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/install.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"

enum {
    PATH_BYTES = 4096,
    LINE_BYTES = 256,
    NICENESS = 10,
    PAUSE_MS = 1000, /* before it is started again; twice as long after each that does not last */
    PAUSE_MAX_MS = 60000,
    LASTING_MS = 60000,
    END_MS = 2000,
};

struct dashboard_child {
    const struct config *config; /* borrowed */
    char *directory;
    char *token; /* path of the file, for --orders */
    char program[PATH_BYTES];
    struct thread keeper;
    int stop;  /* eventfd: readable when it is to end */
    pid_t pid; /* 0: it does not run. The keeper's own while that runs */
};

static enum status find_program(char path[PATH_BYTES])
{
    char programs[PATH_BYTES - 8];
    TRY(install_programs(programs, sizeof(programs)));
    snprintf(path, PATH_BYTES, "%s/seer", programs);
    if (access(path, X_OK) != 0)
        return fail(ERR_INPUT, "the dashboard's program '%s': %s", path, strerror(errno));
    return OK;
}

/* In the child. */
static void become(const struct dashboard_child *child, int output)
{
    const char *words[] = {child->program,
                           "dashboard",
                           "--run",
                           child->directory,
                           "--listen",
                           child->config->server.dashboard,
                           child->config->server.dashboard_open     ? "--allow-remote"
                           : child->config->server.dashboard_orders ? "--orders"
                                                                    : NULL,
                           child->token,
                           NULL};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL); /* the keeper's are blocked */
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0); /* a terminal's Ctrl-C is for the server, which ends it itself */
    setpriority(PRIO_PROCESS, 0, NICENESS);
    dup2(output, STDOUT_FILENO);
    execv(child->program, (char **)(uintptr_t)words);
    _exit(127);
}

/* Is it to end? Waits until then, or until `file` has something (a page's end, its first words; -1:
 * nothing), or for `patience_ms`. */
static int is_stopped(const struct dashboard_child *child, int file, int patience_ms)
{
    struct pollfd polled[] = {{.fd = child->stop, .events = POLLIN},
                              {.fd = file, .events = POLLIN}};
    while (poll(polled, 2, patience_ms) < 0 && errno == EINTR)
        continue;
    return polled[0].revents != 0;
}

/* Its first line is where it listens. */
static enum status await_line(const struct dashboard_child *child, int input, char line[LINE_BYTES])
{
    size_t length = 0;
    while (length + 1 < LINE_BYTES) {
        if (is_stopped(child, input, -1))
            return fail(ERR_END, "it is to end");
        ssize_t got = read(input, line + length, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail(ERR_INPUT, "the dashboard did not start, it has said why above; "
                                   "server.dashboard and server.dashboard_open are its keys");
        if (line[length] == '\n')
            break;
        length++;
    }
    line[length] = 0;
    return OK;
}

static void reap(struct dashboard_child *child)
{
    while (child->pid > 0 && waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    child->pid = 0;
}

static enum status launch(struct dashboard_child *child)
{
    char line[LINE_BYTES];
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail(ERR_IO, "cannot make a pipe for the dashboard: %s", strerror(errno));
    child->pid = fork();
    if (child->pid == 0)
        become(child, ends[1]);
    close(ends[1]);
    enum status status = child->pid < 0
                             ? fail(ERR_IO, "cannot start the dashboard: %s", strerror(errno))
                             : await_line(child, ends[0], line);
    close(ends[0]);
    if (status != OK) {
        if (child->pid > 0)
            kill(child->pid, SIGKILL); /* it may hang: it has not begun */
        reap(child);
        return status;
    }
    log_info("event=dashboard address=%s pid=%d", line, (int)child->pid);
    return OK;
}

/* ---- its keeper ---- */

/* Returns when the page has ended by itself, or 1 when it was ended because all is to end. */
static int keep(struct dashboard_child *child)
{
    int page = (int)syscall(SYS_pidfd_open, child->pid, 0);
    int is_ending = is_stopped(child, page, -1);
    if (is_ending) {
        struct pollfd ended = {.fd = page, .events = POLLIN};
        kill(child->pid, SIGTERM);
        if (poll(&ended, 1, END_MS) <= 0)
            kill(child->pid, SIGKILL); /* there is nothing that it could lose */
    }
    reap(child);
    if (page >= 0)
        close(page);
    return is_ending;
}

static void keep_all(void *argument)
{
    struct dashboard_child *child = argument;
    int pause_ms = PAUSE_MS;
    int64_t start_ms = clock_ms();
    while (child->pid == 0 || !keep(child)) {
        pause_ms = clock_ms() - start_ms > LASTING_MS ? PAUSE_MS : pause_ms;
        log_warn("event=dashboard_down again_in_ms=%d", pause_ms);
        if (is_stopped(child, -1, pause_ms))
            return;
        pause_ms = pause_ms < PAUSE_MAX_MS / 2 ? 2 * pause_ms : PAUSE_MAX_MS;
        start_ms = clock_ms();
        if (launch(child) != OK)
            log_warn("event=dashboard_failed reason=\"%s\"", fail_message());
    }
}

enum status dashboard_child_start(const struct config *config, const char *directory,
                                  struct dashboard_child **ret_child)
{
    *ret_child = NULL;
    if (config->server.dashboard[0] == 0)
        return OK;
    struct dashboard_child *child = mem_zero(sizeof(*child));
    enum status status = OK;
    child->config = config;
    child->directory = mem_string(directory);
    child->token = mem_format("%s/dashboard.token", directory);
    child->stop = eventfd(0, EFD_CLOEXEC);
    if (child->stop < 0)
        status = fail(ERR_IO, "cannot make an eventfd: %s", strerror(errno));
    TRY_OUT(status);
    TRY_OUT(find_program(child->program));
    TRY_OUT(launch(child));
    TRY_OUT(thread_start(&child->keeper, "dashboard", keep_all, child));
    *ret_child = child;
    child = NULL;
out:
    dashboard_child_stop(child);
    return status;
}

void dashboard_child_stop(struct dashboard_child *child)
{
    if (child == NULL)
        return;
    const uint64_t one = 1;
    if (child->stop >= 0 && write(child->stop, &one, sizeof(one)) != sizeof(one))
        log_warn("event=dashboard_stop_failed reason=\"%s\"", strerror(errno));
    thread_stop(&child->keeper);
    if (child->pid > 0) { /* of which there was no keeper */
        kill(child->pid, SIGTERM);
        reap(child);
    }
    if (child->stop >= 0)
        close(child->stop);
    mem_free(child->directory);
    mem_free(child->token);
    mem_free(child);
}
