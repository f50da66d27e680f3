/* schedule.h - which learning rate the next step has: a pure function of what was committed.
 *
 * Linear warm-up from lr_start to lr_peak over warmup_steps (lr_peak is reached at the last of
 * them), then one of: constant; multistep; cosine down to lr_final at length_steps, in swav's form,
 * where the wave begins after the warm-up, or in vissl's, whose warm-up is a step shorter; plateau:
 * keep the rate until the loss no longer falls, then multiply it by plateau_factor (Goyal et al.
 * 2021, section 3.2: the "fixed" schedule, which needs no end). The state is a plain value; it is
 * stored with every committed step, so a restart goes on from the same state.
 *
 * The plateau's rule is judged at the end of every window, by its mean and by the standard error of
 * that: plateau_patience windows in a row without an improvement beyond threshold and noise cut the
 * rate, and after a cut plateau_cooldown windows are not judged. It rests on losses alone. An
 * endless stream is refreshed all the time, so that it was refreshed is no reason to begin anew; a
 * refresh that matters shows in the loss, as a jump. Neither is a change of members, with whom the
 * trajectory must not change. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_SCHEDULE_H
#define SERVER_SCHEDULE_H

#include <stdint.h>

#include "common/config.h"

enum { SCHEDULE_PARTS = 10 }; /* sub-blocks of a window, for the noise of its mean */

struct schedule_state {
    uint64_t commits; /* in the present window */
    double part_sums[SCHEDULE_PARTS];
    uint32_t part_counts[SCHEDULE_PARTS];
    uint64_t windows;    /* completed after the warm-up */
    double best;         /* lowest window mean since the last cut; +inf at first */
    uint32_t bad;        /* windows in a row without improvement */
    uint32_t cool;       /* windows left in which nothing is decided */
    uint32_t cuts;       /* how often the rate was cut */
    int is_armed;        /* the loss has left the ln K it starts from */
    double window_mean;  /* of the last completed window, for people */
    double window_error; /* standard error of it */
};

/* What a committed loss led to. */
enum schedule_event {
    SCHEDULE_NOTHING,
    SCHEDULE_WINDOW,   /* a window was completed, the rate stays */
    SCHEDULE_CUT,      /* the rate was cut */
    SCHEDULE_COLLAPSE, /* alarm: a window is at ln K, SCHEDULE_ALARM_WINDOWS after the warm-up
                          still, or again */
};

enum { SCHEDULE_ALARM_WINDOWS = 10 };

void schedule_init(struct schedule_state *state);
/* The rate of this step. */
double schedule_lr(const struct config *config, const struct schedule_state *state, uint64_t step);
/* Takes in the loss of a committed step; never called for a skipped one. */
enum schedule_event schedule_commit(const struct config *config, struct schedule_state *state,
                                    uint64_t step, double loss);

#endif
