/* local_group.c - fork, form, run, reap. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/collective/local_group.h"

#include <fcntl.h>
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

static void open_memory(size_t region_bytes, struct collective_group *form)
{
    int fd = memfd_create("everseer-region", MFD_CLOEXEC);
    CHECK(fd >= 0 && ftruncate(fd, (off_t)region_bytes) == 0);
    form->region = mmap(NULL, region_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(form->region != MAP_FAILED);
    form->region_bytes = region_bytes;
    form->region_fd = fd;
}

static void member_main(const struct local_group *group, int rank, size_t region_bytes,
                        const struct local_member *member)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
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
    int code = member->run(collective, form.region, member->argument);
    close(group->leave_fds[1]);
    char byte = 0;
    if (code == 0 && write(group->through_fds[rank][1], &byte, 1) == 1)
        CHECK(read(group->leave_fds[0], &byte, 1) == 0);
    collective_destroy(collective);
    _exit(code);
}

enum status local_group_start(struct local_group *group, int size, size_t region_bytes,
                              const struct local_member *member)
{
    memset(group, 0, sizeof(*group));
    if (size < 1 || size > LOCAL_MEMBERS_MAX)
        return fail(ERR_INPUT, "members: %d is not between 1 and %d", size, LOCAL_MEMBERS_MAX);
    group->size = size;
    for (int rank = 0; rank < size; rank++)
        group->doors[rank].listen_fd = group->doors[rank].file_fd = -1;
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
    return helper_start(&group->launch, -1, &group->mpirun);
}

void local_group_end(struct local_group *group, int *ret_wait_status)
{
    for (int rank = 0; rank < group->size; rank++) {
        char byte; /* or end of file, if it failed */
        CHECK(group->members[rank] <= 0 || read(group->through_fds[rank][0], &byte, 1) >= 0);
        close(group->through_fds[rank][0]);
        helper_door_close(&group->doors[rank]);
    }
    close(group->leave_fds[1]);
    for (int rank = 0; rank < group->size; rank++) {
        if (group->members[rank] > 0)
            waitpid(group->members[rank], &ret_wait_status[rank], 0);
    }
    if (group->mpirun > 0) {
        kill(group->mpirun, SIGKILL);
        waitpid(group->mpirun, NULL, 0);
        helper_clean(&group->launch);
    }
}
