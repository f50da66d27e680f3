/* buckets.c - gradients leave for the other members while backward still computes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/model/buckets.h"

#include <inttypes.h>

#include "common/check.h"
#include "worker/exchange.h"

/* Leaves room below COLLECTIVE_PENDING_MAX for further messages and a short last bucket. */
enum { BUCKETS_MAX = COLLECTIVE_PENDING_MAX - 16 };

void buckets_init(struct buckets *buckets, struct team *team, const struct config *config)
{
    struct exchange exchange;
    exchange_init(&exchange, config);
    const size_t wanted = (size_t)config->collective.bucket_kib * 1024 / sizeof(float);
    const size_t least = team->state->layout.parameter_floats / BUCKETS_MAX + 1;
    *buckets = (struct buckets){
        .team = team,
        .bucket_floats = wanted > least ? wanted : least,
        .seal = (double *)(void *)(team->state->exchange + exchange.seal),
    };
}

enum status buckets_begin(struct buckets *buckets, uint64_t step, float *data, size_t extra)
{
    buckets->step = step;
    buckets->unsent = 0;
    buckets->team->started = 0;
    return extra > 0 ? buckets_add(buckets, data, extra) : OK;
}

void buckets_expect(struct buckets *buckets)
{
    buckets->unsent = buckets->team->state->layout.parameter_floats;
}

enum status buckets_add(struct buckets *buckets, float *data, size_t count)
{
    return team_sum_start(buckets->team, data, count, REDUCE_SUM);
}

static enum status send_from(struct buckets *buckets, size_t first)
{
    struct team *team = buckets->team;
    const struct state *state = team->state;
    const size_t count = buckets->unsent - first;
    buckets->unsent = first;
    if (team->rows.is_exact)
        return team_sum_start(team, state->wide_grads + 2 * first, 2 * count, REDUCE_SUM_DOUBLE);
    return team_sum_start(team, state->grads + first, count, REDUCE_SUM_GRADIENTS);
}

enum status buckets_ready(struct buckets *buckets, const float *first)
{
    const size_t offset = (size_t)(first - buckets->team->state->grads);
    CHECK(offset <= buckets->unsent);
    return buckets->unsent - offset < buckets->bucket_floats ? OK : send_from(buckets, offset);
}

enum status buckets_rest(struct buckets *buckets)
{
    return buckets->unsent > 0 ? send_from(buckets, 0) : OK;
}

static void make_seal(const struct buckets *buckets, double seal[EXCHANGE_SEAL])
{
    seal[0] = 1;
    seal[1] = (double)collective_generation(buckets->team->collective);
    seal[2] = (double)buckets->step;
    seal[3] = (double)buckets->team->started;
}

/* Of such sums every one is exact. */
static enum status check_seal(const struct buckets *buckets, const double own[EXCHANGE_SEAL])
{
    const struct team *team = buckets->team;
    const double size = collective_size(team->collective);
    double sums[EXCHANGE_SEAL];
    team->ops->download(team->device, sums, buckets->seal, sizeof(sums));
    for (int i = 0; i < EXCHANGE_SEAL; i++)
        if (sums[i] != size * own[i])
            return fail(ERR_PROTOCOL,
                        "the gradients of step %" PRIu64
                        " are no sum of %d members: seal %d is %g, "
                        "not %g",
                        buckets->step, (int)size, i, sums[i], size * own[i]);
    return OK;
}

/* Waits for all that was sent, and for what says that it was whole. */
static enum status send_seal(struct buckets *buckets)
{
    struct team *team = buckets->team;
    double seal[EXCHANGE_SEAL];
    CHECK(buckets->unsent == 0);
    make_seal(buckets, seal);
    team->ops->upload(team->device, buckets->seal, seal, sizeof(seal));
    TRY(team_sum_start(team, buckets->seal, EXCHANGE_SEAL, REDUCE_SUM_DOUBLE));
    TRY(collective_wait(team->collective, team->ticket));
    return check_seal(buckets, seal);
}

enum status buckets_finish(struct buckets *buckets)
{
    const struct team *team = buckets->team;
    TRY(send_seal(buckets));
    if (team->rows.is_exact)
        team->ops->wide_round(team->device, team->state->wide_grads,
                              team->state->layout.parameter_floats, team->state->grads);
    return OK;
}

enum status buckets_count(struct buckets *buckets, int is_one, int *ret_count)
{
    struct team *team = buckets->team;
    double count = is_one;
    team->ops->upload(team->device, buckets->seal, &count, sizeof(count));
    TRY(team_sum_start(team, buckets->seal, 1, REDUCE_SUM_DOUBLE));
    TRY(collective_wait(team->collective, team->ticket));
    team->ops->download(team->device, &count, buckets->seal, sizeof(count));
    *ret_count = (int)count;
    return OK;
}

enum status buckets_gather(struct buckets *buckets, float *data, size_t floats)
{
    struct team *team = buckets->team;
    TRY(team->ops->synchronize(team->device));
    TRY(collective_allgather(team->collective, data, floats * sizeof(*data)));
    team->started++;
    team_progress(team);
    return send_seal(buckets);
}
