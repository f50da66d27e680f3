/* warm_up.h - what only a process's first step costs, paid before anybody waits for it.
 *
 * Training thread, which does nothing else meanwhile: a Regroup that comes now waits behind it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_WARM_UP_H
#define WORKER_WARM_UP_H

#include "worker/step.h"

/* Computes a step of `slots` grey slots alone and forgets it: memory is planned and touched,
 * kernels are chosen and compiled, for this many. Blocks for as long as their step takes. Of the
 * state only gradients and the exchange area change, which no one reads, and with them a sharded
 * momentum that was whole: call it before there is one. ERR_DEVICE: they do not fit. */
enum status warm_up(const struct config *config, struct state *state, struct step *step, int slots);

#endif
