/* team.c - what a layer needs of its surroundings: device, rows, and the members to sum with. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/team.h"

#include <string.h>

#include "common/check.h"
#include "common/hash.h"
#include "common/mem.h"
#include "worker/exchange.h"
#include "worker/model/tape.h"

static float *take_ones(struct team *team, int count)
{
    const float one = 1;
    float *ones = arena_floats(&team->arena, (size_t)count);
    for (int i = 0; i < count && ones != NULL; i++)
        team->ops->upload(team->device, ones + i, &one, sizeof(one));
    return ones;
}

static size_t longest_parameter(const struct state_layout *layout)
{
    size_t longest = 0;
    for (int i = 0; i < layout->tensor_count; i++)
        if (layout->tensors[i].kind == STATE_PARAMETER && layout->tensors[i].length > longest)
            longest = layout->tensors[i].length;
    return longest;
}

void team_init(struct team *team, const struct config *config, struct state *state,
               struct rows *rows, int is_training, size_t arena_bytes)
{
    struct exchange exchange;
    *team = (struct team){
        .device = state->device,
        .ops = state->device->ops,
        .state = state,
        .rows = *rows,
        .is_training = is_training,
        .bn_eps = (float)config->model.bn_eps,
    };
    *rows = (struct rows){0};
    exchange_init(&exchange, config);
    arena_init(&team->arena, state->device);
    arena_reserve(&team->arena, arena_bytes);
    if (!is_training)
        return;
    for (int i = 0; i < 2; i++)
        team->norm_sums[i] = state->exchange + exchange.norms[i];
    team->share_place = (struct bn_share *)(void *)(state->exchange + exchange.shares);
    if (team->rows.group_count > 1)
        team->shares = mem_array((size_t)team->rows.slot_total, sizeof(*team->shares));
    if (team->rows.is_exact)
        team->partial = arena_floats(&team->arena, longest_parameter(&state->layout));
    team->batch = arena_floats(&team->arena, (size_t)team->rows.resolution_count *
                                                 state->layout.statistic_floats);
    team->ones = take_ones(team, team->rows.resolution_count * team->rows.group_count);
}

void team_done(struct team *team)
{
    mem_free(team->shares);
    arena_done(&team->arena);
    rows_done(&team->rows);
}

void team_progress(struct team *team)
{
    if (team->progress != NULL)
        atomic_fetch_add_explicit(team->progress, 1, memory_order_relaxed);
}

/* Told each other at every step, since shares move with measured speed. */
static enum status exchange_shares(struct team *team)
{
    const struct rows *rows = &team->rows;
    const int rank = collective_rank(team->collective);
    const size_t bytes = sizeof(*team->shares);
    const struct bn_share own = {
        .first = (uint32_t)rows->first_slot,
        .count = rows->is_run ? (uint32_t)rows->slot_count : 0,
    };
    team->ops->upload(team->device, team->share_place + rank, &own, bytes);
    TRY(collective_allgather(team->collective, team->share_place, bytes));
    team->ops->download(team->device, team->shares, team->share_place,
                        bytes * (size_t)collective_size(team->collective));
    return OK;
}

enum status team_meet(struct team *team)
{
    const int size = collective_size(team->collective);
    team->groups = (struct bn_groups){0};
    if (team->rows.group_count == 1 || size == 1)
        return OK;
    CHECK(size <= team->rows.slot_total);
    TRY(exchange_shares(team));
    bn_groups_make(&team->groups, team->shares, size, collective_rank(team->collective),
                   team->rows.group_slots);
    if (team->groups.key == 0)
        return OK;
    const struct state *state = team->state;
    team->ops->zero(team->device, state->group_statistics,
                    state->layout.group_statistic_floats * sizeof(float));
    return collective_split(team->collective, team->groups.key, team->groups.group);
}

uint64_t team_key(const struct team *team)
{
    const struct rows *rows = &team->rows;
    uint64_t words[] = {
        team->ops->recordings_epoch(team->device),
        (uint64_t)collective_is_alone(team->collective),
        (uint64_t)collective_rank(team->collective),
        (uint64_t)collective_size(team->collective),
        team->groups.key != 0,
        (uint64_t)team->groups.group[0],
        (uint64_t)team->groups.group[1],
        (uint64_t)rows->run_count,
    };
    _Static_assert(COLLECTIVE_CUTS == 2, "the group of every cut");
    return hash_bytes_seed(rows->runs, (size_t)rows->run_count * sizeof(*rows->runs),
                           hash_bytes(words, sizeof(words)));
}

enum status team_perform(struct team *team, const struct team_call *call)
{
    struct collective *collective = team->collective;
    switch (call->kind) {
    case TEAM_SUM:
        TRY(collective_allreduce(collective, call->data, call->count, call->op));
        break;
    case TEAM_SUM_WITHIN:
        TRY(collective_allreduce_within(collective, call->parts, call->op));
        break;
    case TEAM_SUM_START:
        TRY(collective_allreduce_start(collective, call->data, call->count, call->op,
                                       &team->ticket));
        team->started++;
        break;
    }
    team_progress(team);
    return OK;
}

static enum status exchange(struct team *team, const struct team_call *call)
{
    return team->tape != NULL ? tape_cut(team->tape, call) : team_perform(team, call);
}

enum status team_max(struct team *team, float *values, size_t count)
{
    const struct team_call call = {TEAM_SUM, REDUCE_MAX, .data = values, .count = count};
    return exchange(team, &call);
}

enum status team_sum_start(struct team *team, void *data, size_t count, enum reduce_op op)
{
    const struct team_call call = {TEAM_SUM_START, op, .data = data, .count = count};
    return exchange(team, &call);
}

enum status team_sum(struct team *team, float *data, size_t count)
{
    const struct team_call call = {TEAM_SUM, REDUCE_SUM, .data = data, .count = count};
    return exchange(team, &call);
}

enum status team_sum_wide(struct team *team, double *wide, size_t count)
{
    const struct team_call call = {TEAM_SUM, REDUCE_SUM_DOUBLE, .data = wide, .count = 2 * count};
    return exchange(team, &call);
}

enum status team_sum_groups(struct team *team, const struct collective_part parts[COLLECTIVE_CUTS],
                            enum reduce_op op)
{
    struct team_call call = {.kind = TEAM_SUM_WITHIN, .op = op};
    memcpy(call.parts, parts, sizeof(call.parts));
    return exchange(team, &call);
}

float *team_gradient(const struct team *team, const struct parameter *parameter)
{
    return team->rows.is_exact ? team->partial : parameter->grad;
}

void team_gradient_add(const struct team *team, const struct parameter *parameter, const float *x,
                       int is_first)
{
    const struct state *state = team->state;
    team->ops->wide_add(team->device, x, parameter->length, is_first,
                        state->wide_grads + 2 * (parameter->grad - state->grads));
}

void team_gradient_written(const struct team *team, const struct parameter *parameter, int is_first)
{
    if (team->rows.is_exact)
        team_gradient_add(team, parameter, team->partial, is_first);
}

int team_accumulates(const struct team *team, int is_first)
{
    return !team->rows.is_exact && !is_first;
}

void team_add_rows(struct team *team, const float *x, int count, int n, int is_added, float *y)
{
    if (count == 1 && !is_added)
        team->ops->copy(team->device, y, x, (size_t)n * sizeof(*y));
    else
        team->ops->gemm(team->device, 0, 0, 1, n, count, 1, team->ones, x, is_added ? 1 : 0, y);
}

void *team_offset(const struct team *team, const void *x, size_t count)
{
    return x == NULL ? NULL : (char *)x + count * team->ops->activation_bytes;
}

void *team_activations(struct team *team, size_t count)
{
    return arena_take(&team->arena, count * team->ops->activation_bytes);
}
