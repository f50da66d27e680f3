/* slot_losses.h - the loss of a step as a sum of those of its slots, whoever holds them.
 *
 * Each slot's is added up where it is held and placed, zero for those of others, among the losses
 * of all slots; these are summed over members as part of the gradients' messages. So the loss is
 * the same on every member, and does not depend on who held what. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_SLOT_LOSSES_H
#define WORKER_MODEL_SLOT_LOSSES_H

#include "worker/model/team.h"

struct slot_losses {
    struct team *team; /* borrowed */
    double *sums;      /* [slot held][2], the second 0; device memory */
    float *values;     /* [slot held] */
    float *all;        /* [slot of the step], in the exchange area: exchange.tail */
};

/* Memory comes from team->arena. */
void slot_losses_init(struct slot_losses *losses, struct team *team, const struct config *config);
void slot_losses_zero(struct slot_losses *losses);
/* Where device.h's swav_loss adds for a slot held here. */
double *slot_losses_sum(const struct slot_losses *losses, int slot);
/* All is added: values = scale * sums. */
void slot_losses_finish(struct slot_losses *losses, double scale);
/* To their places among all, which are then to be summed over members. */
void slot_losses_place(struct slot_losses *losses, const uint32_t *slots);
/* Of the whole batch, once they are summed; waits for the device. */
double slot_losses_total(const struct slot_losses *losses);

#endif
