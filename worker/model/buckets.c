/* buckets.c - gradients leave for the other members while backward still computes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/buckets.h"

#include "common/check.h"

/* Leaves room below COLLECTIVE_PENDING_MAX for the extra message and a short last bucket. */
enum { BUCKETS_MAX = COLLECTIVE_PENDING_MAX - 16 };

void buckets_init(struct buckets *buckets, struct team *team, int64_t bucket_kib)
{
    const size_t wanted = (size_t)bucket_kib * 1024 / sizeof(float);
    const size_t least = team->state->layout.parameter_floats / BUCKETS_MAX + 1;
    *buckets = (struct buckets){
        .team = team,
        .bucket_floats = wanted > least ? wanted : least,
    };
}

static enum status send(struct buckets *buckets, void *data, size_t count, enum reduce_op op)
{
    TRY(collective_allreduce_start(buckets->team->collective, data, count, op, &buckets->ticket));
    buckets->is_any_sent = 1;
    team_progress(buckets->team);
    return OK;
}

enum status buckets_begin(struct buckets *buckets, float *data, size_t extra)
{
    const struct team *team = buckets->team;
    const struct state *state = team->state;
    buckets->unsent = state->layout.parameter_floats;
    buckets->is_any_sent = 0;
    if (team->rows.is_exact)
        team->ops->zero(team->device, state->wide_grads, state->layout.wide_floats * sizeof(float));
    return extra > 0 ? send(buckets, data, extra, REDUCE_SUM) : OK;
}

static enum status send_from(struct buckets *buckets, size_t first)
{
    const struct state *state = buckets->team->state;
    const size_t count = buckets->unsent - first;
    buckets->unsent = first;
    if (buckets->team->rows.is_exact)
        return send(buckets, state->wide_grads + 2 * first, 2 * count, REDUCE_SUM_DOUBLE);
    return send(buckets, state->grads + first, count, REDUCE_SUM_GRADIENTS);
}

enum status buckets_ready(struct buckets *buckets, const float *first)
{
    const size_t offset = (size_t)(first - buckets->team->state->grads);
    CHECK(offset <= buckets->unsent);
    return buckets->unsent - offset < buckets->bucket_floats ? OK : send_from(buckets, offset);
}

enum status buckets_finish(struct buckets *buckets)
{
    if (buckets->unsent > 0)
        TRY(send_from(buckets, 0));
    if (buckets->is_any_sent)
        TRY(collective_wait(buckets->team->collective, buckets->ticket));
    const struct team *team = buckets->team;
    if (team->rows.is_exact)
        team->ops->wide_round(team->device, team->state->wide_grads,
                              team->state->layout.parameter_floats, team->state->grads);
    return OK;
}
