/* parameter_groups.h - SGD with a rate and a weight decay for each kind of parameter.
 *
 * Kinds: the trunk's convolutions and squeeze-and-excitation; scale and offset of batch
 * normalisation, which are not decayed (VISSL's regularize_bn: False); the classifier. The
 * arithmetic is the device's. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_PARAMETER_GROUPS_H
#define WORKER_EVAL_PARAMETER_GROUPS_H

#include "worker/model/arena.h"
#include "worker/state.h"

enum parameter_kind { PARAMETER_TRUNK, PARAMETER_NORM, PARAMETER_CLASSIFIER, PARAMETER_KINDS };

struct parameter_groups {
    struct state *state; /* borrowed */
    struct arena arena;
    struct optimizer_tensors tensors[PARAMETER_KINDS];
};

/* Of one update. */
struct parameter_rates {
    double trunk, classifier; /* learning rates */
    double momentum, weight_decay;
    int is_nesterov;
};

/* Of all parameters of the state. ERR_DEVICE; done in any case. */
enum status parameter_groups_init(struct parameter_groups *groups, struct state *state);
void parameter_groups_done(struct parameter_groups *groups);
void parameter_groups_update(struct parameter_groups *groups, const struct parameter_rates *rates);

#endif
