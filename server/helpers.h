/* helpers.h - the collective helpers of a generation: one mpirun, started and ended as a whole.
 *
 * At most two generations' helpers run at a time: those of the present one, and those of the next
 * one while it is prepared. What they print comes out of a pipe and goes to the log at debug. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_HELPERS_H
#define SERVER_HELPERS_H

#include <stdint.h>
#include <sys/types.h>

#include "common/helper_command.h"
#include "common/status.h"
#include "server/actions.h"

enum {
    HELPERS_WORDS_BYTES = 200,
    HELPERS_LAUNCHES = 2, /* at once */
};

struct helpers {
    uint64_t run, generation, nonce;
    pid_t pid;                       /* of mpirun, leader of its process group; 0 = none runs */
    int is_adopted;                  /* it is no child of ours: nothing of it is to be reaped */
    int process;                     /* its pidfd, readable when it has ended; -1 = none */
    int output;                      /* what it prints; -1 = none */
    char words[HELPERS_WORDS_BYTES]; /* its last line: why it ended, if it ends by itself */
};

void helpers_init(struct helpers *helpers, uint64_t run);
/* Starts those of an ACTION_START_HELPERS; none may run in here. ERR_IO; ERR_INPUT: there is no
 * seer-helper. */
enum status helpers_start(struct helpers *helpers, const struct action *action);
/* Kills and reaps them all, and waits for that (the kernel's time, 2 s at most for adopted ones);
 * none running is fine. */
void helpers_stop(struct helpers *helpers);
/* Takes over those that a server before this one has started, with their pidfd. */
void helpers_adopt(struct helpers *helpers, const struct helper_left *left);
/* To be called when `output` is readable: logs it. */
void helpers_log(struct helpers *helpers);

#endif
