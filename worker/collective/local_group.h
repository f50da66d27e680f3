/* local_group.h - members of one generation as child processes of one program: for commands that
 * compute with several workers of one host, tests and bench.
 *
 * Stands in for server and workers: listens, forks the members, starts mpirun. Fork before starting
 * threads. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_COLLECTIVE_LOCAL_GROUP_H
#define WORKER_COLLECTIVE_LOCAL_GROUP_H

#include <sys/types.h>

#include "common/helper_command.h"
#include "worker/collective/collective.h"
#include "worker/collective/helper.h"

enum { LOCAL_MEMBERS_MAX = 64 };

struct local_group {
    int size;
    pid_t mpirun; /* 0: none */
    pid_t members[LOCAL_MEMBERS_MAX];
    char helper[512];
    struct helper_door doors[LOCAL_MEMBERS_MAX]; /* of this process; a member listens at its own */
    const char *addresses[LOCAL_MEMBERS_MAX];
    /* A member that leaves ends the group for those still at the last operation, so each reports
     * that it is through and stays until all are. */
    int through_fds[LOCAL_MEMBERS_MAX][2]; /* pipes */
    int leave_fds[2];                      /* pipe; closed by the parent: leave */
    struct helper_launch launch;
};

/* What a member does once formed; its return value is its exit code. region is its own. */
struct local_member {
    int (*run)(struct collective *collective, float *region, void *argument);
    void *argument;
    int64_t timeout_ms; /* of each operation */
    /* Makes, in the member's process, what the collective is to work on: region, region_bytes,
     * region_fd and device of form. NULL: memory of its own, of region_bytes. */
    enum status (*open)(void *argument, struct collective_group *form);
    int64_t form_timeout_ms; /* for the last member to have opened, and to form; 0: 30 s */
};

/* Forks `size` members with regions of region_bytes and starts their helpers. A member that cannot
 * open or form says why on stderr and exits with 100 + status. */
enum status local_group_start(struct local_group *group, int size, size_t region_bytes,
                              const struct local_member *member);
/* Waits for the members (how each ended, as waitpid says), then ends mpirun and cleans up. If one
 * ends before it has formed nobody can: the others are ended, and count as having ended like it. */
void local_group_end(struct local_group *group, int *ret_wait_status);

#endif
