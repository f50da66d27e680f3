/* step.h - one training step in the paper's order, up to the vote and after the verdict.
 *
 * step_compute does everything that can be done without changing anything that lasts: parameters,
 * statistics, queue and momentum (sharded: the slices that are kept of it) stay as they were until
 * step_apply. So a step that is not committed can simply be forgotten. The result is a function of
 * the batch of all members together: loss, Sinkhorn, feature queue and BN groups are defined over
 * slots, whoever holds them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_STEP_H
#define WORKER_STEP_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"
#include "loader/loader.h"
#include "proto/message.h"
#include "worker/collective/collective.h"
#include "worker/device/device.h"
#include "worker/learning.h"
#include "worker/state.h"

struct step;

struct step_result {
    double loss;      /* over the whole batch; the same on every member */
    double grad_norm; /* of the reduced gradient; the same on every member */
    int is_finite;
    uint32_t images; /* of this member */
    uint64_t digest; /* state_gradient_digest */
    int64_t phase_us[PHASE_COUNT];
    /* Forward to backward, without waiting in the collective; on an asynchronous device the whole
     * of it when alone, 0 (unknown) with others. */
    int64_t compute_us;
};

/* config and state are borrowed for the step's life. */
enum status step_create(const struct config *config, struct state *state, struct step **ret_step);
void step_destroy(struct step *step);
/* Releases what the next step_compute plans and takes anew for its share. */
void step_release(struct step *step);
/* What watchers in other threads may follow; relaxed atomics. */
struct step_progress {
    _Atomic uint32_t phase;    /* enum worker_phase */
    _Atomic uint64_t progress; /* counts up whenever something got done */
    _Atomic int64_t phase_since_ms;
    _Atomic int is_warm; /* a step was computed: what only the first one costs is paid */
};
/* Phase changes are written to *progress from now on, which is borrowed; NULL ends that. */
void step_watch(struct step *step, struct step_progress *progress);

/* From now on step_compute asks, when its work is under way, for the batch that will come next;
 * NULL: it is not there yet. Its images then travel beside the computation, if the device can. */
void step_expect(struct step *step, const struct batch *(*next)(void *errand), void *errand);

/* Forward, codes, loss, backward, reduction for this member's slots of step `number`. collective is
 * borrowed for the call. A changed slot_count re-plans memory (the only time it allocates).
 * ERR_UNREACHABLE, ERR_TIMEOUT, ERR_STALE from the collective; ERR_DEVICE. */
enum status step_compute(struct step *step, struct collective *collective, uint64_t number,
                         const struct batch *batch, struct step_result *ret_result);
/* Images of the batch that the vote cannot account for: with any, the step is not committed. */
uint32_t step_unaccounted(const struct batch *batch);
/* What learning.h wants to know of the step that was computed last and not applied yet; the
 * caller's. Waits for a copy of LEARNING_SAMPLE_BYTES from the device. */
struct learning_sample *step_sample(struct step *step);
/* The verdict "commit": optimizer, running statistics, prototypes, queue; state->step becomes
 * number+1. Must follow step_compute of the same number. */
enum status step_apply(struct step *step, uint64_t number, double lr);
/* The verdict "skip": only state->step and the loss scale move. */
void step_skip(struct step *step, uint64_t number);

#endif
