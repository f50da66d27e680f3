/* helper_command.h - the one place that knows how the collective helpers of a generation start.
 *
 * For each generation somebody (server, test, bench) starts `mpirun` with one seer-helper per
 * member; the helper of rank r calls the worker that listens at addresses[r]. Needs no MPI header.
 * Open MPI keeps its files in a scratch directory of the launch, so whichever way it dies, removing
 * that directory leaves nothing behind. SIGKILL to mpirun ends its helpers too (PR_SET_PDEATHSIG).
 * mpirun outlives whoever started it: it ends with its helpers, and they with their workers, so a
 * server that starts again finds it (helper_each_left) and may go on with it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_HELPER_COMMAND_H
#define COMMON_HELPER_COMMAND_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/status.h"

enum {
    HELPER_ADDRESS_BYTES = 108, /* sun_path of Linux */
    HELPER_SCRATCH_BYTES = 96,
};

struct helper_launch {
    const char *helper; /* path of seer-helper; see helper_find */
    uint64_t run, generation, nonce;
    int size;
    const char *const *addresses; /* [size] as helper_door_open wrote them */
};

/* Arguments for execvp, NULL at the end; argv[0] is mpirun. helper_command_destroy frees. */
char **helper_command_create(const struct helper_launch *launch);
void helper_command_destroy(char **argv); /* NULL is fine */
/* Where Open MPI keeps its files for this launch; another for every nonce. */
void helper_scratch(const struct helper_launch *launch, char path[HELPER_SCRATCH_BYTES]);

/* $SEER_HELPER, or seer-helper beside the running program, or where it is installed to from there.
 * ERR_INPUT: it is not there. */
enum status helper_find(char *path, size_t path_bytes);
/* Makes the scratch directory and starts mpirun as a child, leader of its process group. output_fd
 * gets its words (-1: /dev/null). The caller reaps the pid, then calls helper_clean. */
enum status helper_start(const struct helper_launch *launch, int output_fd, pid_t *ret_pid);
/* Removes the scratch directory; call once mpirun is gone. */
void helper_clean(const struct helper_launch *launch);
/* An mpirun that somebody has started. */
struct helper_left {
    struct helper_launch launch; /* run, generation and nonce of it */
    pid_t pid;
    int process; /* its pidfd, the visitor's to close: while it is not readable, pid is its own */
};
/* Calls visit for every mpirun of this run that is alive on this host. Reads the command lines of
 * all processes. */
void helper_each_left(uint64_t run, void (*visit)(void *context, const struct helper_left *left),
                      void *context);
/* Removes the scratch directories of this run but the one of `kept` (NULL: none is kept). */
void helper_clean_run(uint64_t run, const struct helper_launch *kept);

#endif
