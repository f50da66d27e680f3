/* helpers.c - the collective helpers of a generation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    PATH_BYTES = 4096,
    OUTPUT_BYTES = 4096,
    END_MS = 2000, /* for the kernel to end a process that was killed */
};

void helpers_init(struct helpers *helpers, uint64_t run)
{
    *helpers = (struct helpers){.run = run, .process = -1, .output = -1};
}

/* What helper_start and helper_clean tell one launch from another by. */
static struct helper_launch launch_of(const struct helpers *helpers)
{
    return (struct helper_launch){
        .run = helpers->run, .generation = helpers->generation, .nonce = helpers->nonce};
}

static enum status start_mpirun(struct helpers *helpers, const struct action *action)
{
    char path[PATH_BYTES];
    int ends[2];
    TRY(helper_find(path, sizeof(path)));
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return fail(ERR_IO, "cannot make a pipe for mpirun: %s", strerror(errno));
    uint32_t count = action->helpers.count;
    const char **addresses = mem_array(count, sizeof(*addresses));
    for (uint32_t i = 0; i < count; i++)
        addresses[i] = action->helpers.helpers[i].address;
    struct helper_launch launch = launch_of(helpers);
    launch.helper = path;
    launch.size = (int)count;
    launch.addresses = addresses;
    enum status status = helper_start(&launch, ends[1], &helpers->pid);
    close(ends[1]);
    mem_free(addresses);
    if (status == OK)
        helpers->output = ends[0];
    else
        close(ends[0]);
    return status;
}

enum status helpers_start(struct helpers *helpers, const struct action *action)
{
    CHECK(helpers->pid == 0);
    helpers->generation = action->helpers.generation;
    helpers->nonce = action->helpers.nonce;
    helpers->words[0] = 0;
    TRY(start_mpirun(helpers, action));
    helpers->process = (int)syscall(SYS_pidfd_open, helpers->pid, 0);
    if (helpers->process < 0) {
        enum status status = fail(ERR_IO, "cannot watch mpirun: %s", strerror(errno));
        helpers_stop(helpers);
        return status;
    }
    log_debug("event=helpers_started generation=%" PRIu64 " pid=%d", helpers->generation,
              (int)helpers->pid);
    return OK;
}

void helpers_adopt(struct helpers *helpers, const struct helper_left *left)
{
    *helpers = (struct helpers){.run = left->launch.run,
                                .generation = left->launch.generation,
                                .nonce = left->launch.nonce,
                                .pid = left->pid,
                                .is_adopted = 1,
                                .process = left->process,
                                .output = -1};
}

/* While its pidfd says that it lives, its numbers are its own. */
static void end_adopted(const struct helpers *helpers)
{
    struct pollfd polled = {.fd = helpers->process, .events = POLLIN};
    if (poll(&polled, 1, 0) == 0)
        kill(-helpers->pid, SIGKILL);
    poll(&polled, 1, END_MS);
}

static void end_child(const struct helpers *helpers)
{
    kill(-helpers->pid, SIGKILL);
    kill(helpers->pid, SIGKILL); /* it may not have made its group yet */
    while (waitpid(helpers->pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

void helpers_stop(struct helpers *helpers)
{
    if (helpers->pid == 0)
        return;
    if (helpers->is_adopted)
        end_adopted(helpers);
    else
        end_child(helpers);
    if (helpers->output >= 0)
        helpers_log(helpers);
    if (helpers->output >= 0)
        close(helpers->output);
    if (helpers->process >= 0)
        close(helpers->process);
    struct helper_launch launch = launch_of(helpers);
    helper_clean(&launch);
    log_debug("event=helpers_stopped generation=%" PRIu64, helpers->generation);
    helpers->pid = helpers->is_adopted = 0;
    helpers->process = helpers->output = -1;
}

void helpers_log(struct helpers *helpers)
{
    char text[OUTPUT_BYTES];
    ssize_t length = read(helpers->output, text, sizeof(text) - 1);
    if (length <= 0) {
        if (length == 0) { /* all writers are gone; its end shows in the pidfd */
            close(helpers->output);
            helpers->output = -1;
        }
        return;
    }
    text[length] = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (line[0] != 0) {
            snprintf(helpers->words, sizeof(helpers->words), "%s", line);
            log_debug("event=helpers_said generation=%" PRIu64 " text=\"%s\"", helpers->generation,
                      line);
        }
}
