/* optimizer.h - LARC or plain SGD over all parameters at once.
 *
 * LARC as apex has it around torch's SGD (as SwAV and SEER use it nothing is excluded, BN and
 * biases get trust ratio and decay too); the arithmetic is the device's optimizer_update. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_OPTIM_OPTIMIZER_H
#define WORKER_OPTIM_OPTIMIZER_H

#include <stdint.h>

#include "common/config.h"
#include "worker/model/arena.h"
#include "worker/state.h"

struct optimizer {
    struct state *state; /* borrowed */
    struct arena arena;
    struct optimizer_tensors tensors; /* arrays on the device */
    struct optimizer_rule rule;
    int prototypes, prototype_heads; /* index of the first tensor that may be frozen; how many */
    uint64_t freeze_steps;
    float *norms; /* [2*count] on the host */
    int moving;   /* of the tensors measured last: all, or those before frozen prototypes */
};

/* state is borrowed. ERR_DEVICE. */
enum status optimizer_init(struct optimizer *optimizer, const struct config *config,
                           struct state *state);
void optimizer_done(struct optimizer *optimizer);
/* Norms of the present parameters and gradients, for the update of that step. ret_grad_norm: over
 * all tensors that will move. */
void optimizer_measure(struct optimizer *optimizer, uint64_t number, double *ret_grad_norm);
/* Of what was measured last: the norm of all weights; */
double optimizer_weight_norm(const struct optimizer *optimizer);
/* larc's factor of each tensor that moves, before it is clipped: the least and the median one; 0,
 * 0: there are none. */
void optimizer_trust(const struct optimizer *optimizer, double *ret_least, double *ret_median);
/* Sharded: the momentum that the update would leave, of the slice that is this member's own and of
 * what everybody keeps, goes over the gradients; is_void: the present one, since no update is to
 * come. */
void optimizer_advance(struct optimizer *optimizer, int is_void);
/* The learning rate of the next update. */
void optimizer_prepare(struct optimizer *optimizer, double lr);
/* With the norms as measured. Sharded: with the whole new momentum in place of the gradients. */
void optimizer_update(struct optimizer *optimizer);

#endif
