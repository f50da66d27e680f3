/* state_share.c - broadcasts: the block, and the numbers beside it by way of the exchange area. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/state_share.h"

#include "common/check.h"
#include "common/mem.h"

static enum status share_floats(const struct state *state, struct collective *collective,
                                float *floats, size_t count, int root)
{
    TRY(state->device->ops->synchronize(state->device));
    return collective_broadcast(collective, floats, count * sizeof(*floats), root);
}

/* Sharded: all but the momentum, which root may not have. */
static enum status share_block(const struct state *state, struct collective *collective, int root)
{
    const struct state_layout *layout = &state->layout;
    if (!state->is_sharded)
        return share_floats(state, collective, state->block, layout->total_floats, root);
    TRY(share_floats(state, collective, state->block,
                     layout->parameter_floats + layout->statistic_floats, root));
    return share_floats(state, collective, state->queue, layout->queue_floats, root);
}

/* What each member has of the momentum. Owned by the caller. */
static enum status ask_around(struct state *state, struct collective *collective,
                              struct slice_holding **ret_holdings)
{
    const struct device_ops *ops = state->device->ops;
    const int size = collective_size(collective);
    const struct slice_holding own =
        state->is_whole ? (struct slice_holding){0, 1} : state->kept.holding;
    ops->upload(state->device, &state->holdings[collective_rank(collective)], &own, sizeof(own));
    TRY(ops->synchronize(state->device));
    TRY(collective_allgather(collective, state->holdings, sizeof(own)));
    *ret_holdings = mem_array((size_t)size, sizeof(own));
    ops->download(state->device, *ret_holdings, state->holdings, (size_t)size * sizeof(own));
    return OK;
}

/* Elements [first, end) of the momentum, from root to all. */
static enum status share_momentum(struct state *state, struct collective *collective, size_t first,
                                  size_t end, uint32_t root)
{
    if (first < end && !state->is_whole && (int)root == collective_rank(collective))
        momentum_give(&state->kept, first, end, state->momentum);
    return share_floats(state, collective, state->momentum + first, end - first, (int)root);
}

static int are_all_whole(const struct slice_holding *holdings, uint32_t size)
{
    uint32_t whole = 0;
    while (whole < size && holdings[whole].count == 1)
        whole++;
    return whole == size;
}

/* All of it from root, if that has it; else every slice from the first member that has it; what is
 * left over everybody has. root -1: none is righter than others. */
static enum status share_slices(struct state *state, struct collective *collective,
                                const struct slice_holding *holdings, int root)
{
    const uint32_t size = (uint32_t)collective_size(collective);
    const uint32_t count = slice_find_cut(holdings, size);
    const size_t total = state->layout.momentum_floats;
    if (root >= 0 && holdings[root].count == 1)
        return share_momentum(state, collective, 0, total, (uint32_t)root);
    if (are_all_whole(holdings, size))
        return OK;
    if (count == 0)
        return fail(ERR_STALE, "these %u members do not have all slices of the momentum", size);
    const size_t floats = momentum_slice_floats(total, count);
    for (uint32_t slice = 0; slice < count; slice++)
        TRY(share_momentum(state, collective, slice * floats, (slice + 1) * floats,
                           slice_find_holder(holdings, size, slice, count)));
    return share_momentum(state, collective, count * floats, total,
                          slice_find_holder(holdings, size, 0, count));
}

static enum status make_whole(struct state *state, struct collective *collective, int root)
{
    struct slice_holding *holdings = NULL;
    if (!state->is_sharded)
        return OK;
    TRY(ask_around(state, collective, &holdings));
    const enum status status = share_slices(state, collective, holdings, root);
    mem_free(holdings);
    TRY(status);
    state->is_whole = 1;
    return OK;
}

enum status state_share_momentum(struct state *state, struct collective *collective)
{
    return make_whole(state, collective, -1);
}

enum status state_share(struct state *state, struct collective *collective, int root)
{
    const struct device_ops *ops = state->device->ops;
    uint64_t numbers[4] = {state->step, state->queue_filled, state->loss_scale.halvings,
                           state->loss_scale.committed};
    CHECK(state->layout.exchange_floats * sizeof(float) >= sizeof(numbers));
    ops->upload(state->device, state->exchange, numbers, sizeof(numbers));
    TRY(ops->synchronize(state->device));
    TRY(collective_broadcast(collective, state->exchange, sizeof(numbers), root));
    TRY(share_block(state, collective, root));
    ops->download(state->device, numbers, state->exchange, sizeof(numbers));
    state->step = numbers[0];
    state->queue_filled = (uint32_t)numbers[1];
    state->loss_scale =
        (struct loss_scale){.halvings = (uint32_t)numbers[2], .committed = (uint32_t)numbers[3]};
    return make_whole(state, collective, root);
}
