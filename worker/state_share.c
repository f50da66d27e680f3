/* state_share.c - two broadcasts: the block, and the numbers beside it by way of the exchange area.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/state_share.h"

#include "common/check.h"

enum status state_share(struct state *state, struct collective *collective, int root)
{
    const struct device_ops *ops = state->device->ops;
    uint64_t numbers[4] = {state->step, state->queue_filled, state->loss_scale.halvings,
                           state->loss_scale.committed};
    CHECK(state->layout.exchange_floats * sizeof(float) >= sizeof(numbers));
    ops->upload(state->device, state->exchange, numbers, sizeof(numbers));
    TRY(ops->synchronize(state->device));
    TRY(collective_broadcast(collective, state->exchange, sizeof(numbers), root));
    TRY(collective_broadcast(collective, state->block, state->layout.total_floats * sizeof(float),
                             root));
    ops->download(state->device, numbers, state->exchange, sizeof(numbers));
    state->step = numbers[0];
    state->queue_filled = (uint32_t)numbers[1];
    state->loss_scale =
        (struct loss_scale){.halvings = (uint32_t)numbers[2], .committed = (uint32_t)numbers[3]};
    return OK;
}
