/* model_cost.h - parameters of a model and what an image costs, from its config alone. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_MODEL_COST_H
#define COMMON_MODEL_COST_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"

struct model_cost {
    int64_t trunk_parameters, head_parameters, prototype_parameters;
    /* Of one image with all its crops: multiplications (each with an addition) of convolutions and
     * matrix products in the forward pass; and floating-point operations of a training step, in
     * which backward counts twice as much, and what is recomputed once more. */
    double forward_multiplications;
    double train_operations;
};

/* ERR_INPUT: numbers that make no network. */
enum status model_cost_make(const struct config *config, struct model_cost *ret_cost);

#endif
