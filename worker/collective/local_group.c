/* local_group.c - fork, form, run, reap. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/local_group.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"

enum { FORM_TIMEOUT_MS = 30000, FORM_FAILED = 100 };

/* What a member reports; then, or without it, its end of the pipe is closed. */
enum report { REPORT_FORMED = 1, REPORT_THROUGH };

static void open_memory(size_t region_bytes, struct collective_group *form)
{
    int fd = memfd_create("everseer-region", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)region_bytes) == 0);
    form->region = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(form->region != MAP_FAILED);
    form->region_bytes = region_bytes;
    form->region_fd = fd;
}

static int tell(const struct local_group *group, int rank, enum report report)
{
    const char byte = (char)report;
    return write(group->through_fds[rank][1], &byte, 1) == 1;
}

static void member_main(const struct local_group *group, int rank, size_t region_bytes,
                        const struct local_member *member)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int later = rank + 1; later < group->size; later++)
        close(group->through_fds[later][1]); /* or its end would not show while we live */
    struct collective_group form = {
        .engine = COLLECTIVE_MPI,
        .run = group->launch.run,
        .generation = group->launch.generation,
        .nonce = group->launch.nonce,
        .rank = rank,
        .size = group->size,
        .listen_fd = group->doors[rank].listen_fd,
        .form_timeout_ms = member->form_timeout_ms > 0 ? member->form_timeout_ms : FORM_TIMEOUT_MS,
        .timeout_ms = member->timeout_ms,
    };
    struct collective *collective;
    enum status status = OK;
    if (member->open == NULL)
        open_memory(region_bytes, &form);
    else
        status = member->open(member->argument, &form);
    if (status == OK)
        status = collective_form(&form, &collective);
    if (status != OK) {
        fprintf(stderr, "member %d: %s\n", rank, fail_message());
        _exit(FORM_FAILED + (int)status);
    }
    close(group->leave_fds[1]);
    CHECK(tell(group, rank, REPORT_FORMED));
    int code = member->run(collective, form.region, member->argument);
    char byte;
    if (code == 0 && tell(group, rank, REPORT_THROUGH))
        CHECK(read(group->leave_fds[0], &byte, 1) == 0);
    collective_destroy(collective);
    _exit(code);
}

static void dismiss(const struct local_group *group)
{
    for (int rank = 0; rank < group->size; rank++)
        if (group->members[rank] > 0)
            kill(group->members[rank], SIGTERM);
}

enum status local_group_start(struct local_group *group, int size, size_t region_bytes,
                              const struct local_member *member)
{
    memset(group, 0, sizeof(*group));
    if (size < 1 || size > LOCAL_MEMBERS_MAX)
        return fail(ERR_INPUT, "members: %d is not between 1 and %d", size, LOCAL_MEMBERS_MAX);
    group->size = size;
    for (int rank = 0; rank < size; rank++)
        group->doors[rank].listen_fd = group->doors[rank].file_fd = group->through_fds[rank][0] =
            group->through_fds[rank][1] = -1;
    group->leave_fds[0] = group->leave_fds[1] = -1;
    uint64_t random[2];
    CHECK(getrandom(random, sizeof(random), 0) == sizeof(random));
    TRY(helper_find(group->helper, sizeof(group->helper)));
    for (int rank = 0; rank < size; rank++) {
        TRY(helper_door_open(&group->doors[rank]));
        group->addresses[rank] = group->doors[rank].address;
        CHECK(pipe2(group->through_fds[rank], O_CLOEXEC) == 0);
    }
    CHECK(pipe2(group->leave_fds, O_CLOEXEC) == 0);
    group->launch = (struct helper_launch){.helper = group->helper,
                                           .run = random[0],
                                           .generation = 1,
                                           .nonce = random[1],
                                           .size = size,
                                           .addresses = group->addresses};
    fflush(NULL); /* or the children would write our buffered lines again */
    for (int rank = 0; rank < size; rank++) {
        group->members[rank] = fork();
        CHECK(group->members[rank] >= 0);
        if (group->members[rank] == 0)
            member_main(group, rank, region_bytes, member);
        close(group->through_fds[rank][1]);
        close(group->doors[rank].listen_fd);
        group->doors[rank].listen_fd = -1;
    }
    close(group->leave_fds[0]);
    const enum status status = helper_start(&group->launch, -1, &group->mpirun);
    if (status != OK)
        dismiss(group);
    return status;
}

/* Until each is through or has ended. A rank that ended unformed, so that nobody can form: the
 * others are dismissed; -1 = none. */
static int await(struct local_group *group)
{
    struct pollfd ends[LOCAL_MEMBERS_MAX];
    int is_formed[LOCAL_MEMBERS_MAX] = {0}, left = 0, unformed = -1;
    for (int rank = 0; rank < group->size; rank++) {
        const int is_there = group->members[rank] > 0;
        ends[rank] = (struct pollfd){is_there ? group->through_fds[rank][0] : -1, POLLIN, 0};
        left += is_there;
    }
    while (left > 0) {
        const int ready = poll(ends, (nfds_t)group->size, -1);
        CHECK(ready > 0 || errno == EINTR);
        for (int rank = 0; rank < group->size && ready > 0; rank++) {
            char report = 0;
            if (ends[rank].fd < 0 || ends[rank].revents == 0)
                continue;
            const int has_ended = read(ends[rank].fd, &report, 1) != 1;
            is_formed[rank] |= report == REPORT_FORMED;
            if (has_ended && !is_formed[rank] && unformed < 0) {
                unformed = rank;
                dismiss(group);
            }
            if (!has_ended && report == REPORT_FORMED)
                continue;
            ends[rank].fd = -1;
            left--;
        }
    }
    return unformed;
}

void local_group_end(struct local_group *group, int *ret_wait_status)
{
    const int unformed = await(group);
    for (int rank = 0; rank < group->size; rank++) {
        close(group->through_fds[rank][0]);
        helper_door_close(&group->doors[rank]);
    }
    close(group->leave_fds[1]);
    for (int rank = 0; rank < group->size; rank++) {
        if (group->members[rank] > 0)
            waitpid(group->members[rank], &ret_wait_status[rank], 0);
    }
    for (int rank = 0; rank < group->size && unformed >= 0; rank++)
        if (WIFSIGNALED(ret_wait_status[rank]))
            ret_wait_status[rank] = ret_wait_status[unformed];
    if (group->mpirun > 0) {
        kill(group->mpirun, SIGKILL);
        waitpid(group->mpirun, NULL, 0);
        helper_clean(&group->launch);
    }
}
