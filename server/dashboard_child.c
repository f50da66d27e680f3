/* dashboard_child.c - the page of a run, as a process that lives as long as its server. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/dashboard_child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"

enum { PATH_BYTES = 4096, LINE_BYTES = 256, NICENESS = 10 };

static enum status find_program(char path[PATH_BYTES])
{
    char self[PATH_BYTES - 8];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (length < 0)
        return fail(ERR_IO, "cannot read /proc/self/exe: %s", strerror(errno));
    self[length] = 0;
    *strrchr(self, '/') = 0;
    snprintf(path, PATH_BYTES, "%s/seer", self);
    if (access(path, X_OK) != 0)
        return fail(ERR_INPUT, "the dashboard's program '%s': %s", path, strerror(errno));
    return OK;
}

/* In the child. */
static void become(const char *path, const struct config *config, const char *directory, int output)
{
    const char *words[] = {path,
                           "dashboard",
                           "--run",
                           directory,
                           "--listen",
                           config->server.dashboard,
                           config->server.dashboard_open ? "--allow-remote" : NULL,
                           NULL};
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0); /* a terminal's Ctrl-C is for the server, which ends it itself */
    setpriority(PRIO_PROCESS, 0, NICENESS);
    dup2(output, STDOUT_FILENO);
    execv(path, (char **)(uintptr_t)words);
    _exit(127);
}

/* Its first line is where it listens. */
static enum status await_line(int input, char line[LINE_BYTES])
{
    size_t length = 0;
    while (length + 1 < LINE_BYTES) {
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

enum status dashboard_child_start(const struct config *config, const char *directory,
                                  pid_t *ret_pid)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    int ends[2];
    *ret_pid = 0;
    if (config->server.dashboard[0] == 0)
        return OK;
    TRY(find_program(path));
    if (pipe2(ends, O_CLOEXEC) != 0)
        return fail(ERR_IO, "cannot make a pipe for the dashboard: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0)
        become(path, config, directory, ends[1]);
    close(ends[1]);
    enum status status = pid < 0 ? fail(ERR_IO, "cannot start the dashboard: %s", strerror(errno))
                                 : await_line(ends[0], line);
    close(ends[0]);
    if (status != OK) {
        dashboard_child_stop(pid > 0 ? pid : 0);
        return status;
    }
    log_info("event=dashboard address=%s pid=%d", line, (int)pid);
    *ret_pid = pid;
    return OK;
}

void dashboard_child_stop(pid_t pid)
{
    if (pid == 0)
        return;
    kill(pid, SIGTERM);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}
