/* team.h - what a layer needs of its surroundings: device, rows, and the members to sum with.
 *
 * One team serves one model for as long as its share of slots stays the same; the collective
 * changes with the generation. Layers exchange through the team alone, so that a tape (tape.h) can
 * note where. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_TEAM_H
#define WORKER_MODEL_TEAM_H

#include <stdatomic.h>
#include <stdint.h>

#include "worker/collective/collective.h"
#include "worker/device/device.h"
#include "worker/model/arena.h"
#include "worker/model/bn_groups.h"
#include "worker/model/rows.h"
#include "worker/state.h"

struct tape;

/* An exchange with the other members. */
enum team_call_kind { TEAM_SUM, TEAM_SUM_WITHIN, TEAM_SUM_START };
struct team_call {
    enum team_call_kind kind;
    enum reduce_op op;
    void *data; /* but for TEAM_SUM_WITHIN */
    size_t count;
    struct collective_part parts[COLLECTIVE_CUTS]; /* TEAM_SUM_WITHIN */
};

struct team {
    struct device *device;         /* borrowed */
    const struct device_ops *ops;  /* device->ops */
    struct state *state;           /* borrowed */
    struct collective *collective; /* borrowed; NULL while inference only */
    struct tape *tape;             /* which records at present; NULL: none */
    uint64_t ticket, started;      /* of the last sum in the background; how many in this step */
    struct rows rows;
    struct bn_groups groups;      /* of the present step */
    struct bn_share *shares;      /* of all members, on the host; several BN groups only; owned */
    struct bn_share *share_place; /* in the exchange area */
    struct arena arena;
    int is_training;
    float bn_eps;
    float *norm_sums[2]; /* training: the exchange area's places for BN messages */
    float *batch;        /* [resolution][statistic_floats] statistics of this step, laid out as the
                            state's; training only */
    float *ones;         /* as many as summands are ever added by team_add_rows */
    float *partial; /* exact reduction: the gradient of one tensor from one slot; as long as the
                       longest */
    _Atomic uint64_t *progress; /* counted up when something got done; may be NULL */
};

/* Takes over rows (leaves it empty). arena_bytes: what the model is known to take; 0: not known. */
void team_init(struct team *team, const struct config *config, struct state *state,
               struct rows *rows, int is_training, size_t arena_bytes);
void team_done(struct team *team);
/* Before a step, with its rows: who sums which BN group with whom. Errors as collective_allgather.
 */
enum status team_meet(struct team *team);
/* Now, whether or not a tape records. Errors as the collective's operation. */
enum status team_perform(struct team *team, const struct team_call *call);
/* What the operations of a step depend on, besides the addresses of memory: a hash. */
uint64_t team_key(const struct team *team);
/* Largest of all members, of each of count values. Errors as collective_allreduce, here and below.
 */
enum status team_max(struct team *team, float *values, size_t count);
/* Sum over members, in place, in the background: counts in started, sets ticket. */
enum status team_sum_start(struct team *team, void *data, size_t count, enum reduce_op op);
/* Sum over members, in place. */
enum status team_sum(struct team *team, float *data, size_t count);
/* Sum over members of `count` pairs of doubles (device.h, wide_add). */
enum status team_sum_wide(struct team *team, double *wide, size_t count);
/* The same within BN groups: parts[i] with those who share this member's group of cut i. */
enum status team_sum_groups(struct team *team, const struct collective_part parts[COLLECTIVE_CUTS],
                            enum reduce_op op);
/* Gradients are summed over parts. Where a layer shall write what one part adds to a parameter's
 * gradient, and (afterwards) that it is written; is_first: by the first part of the step. With fast
 * reduction a layer adds to what is there for all but the first: team_accumulates says so. */
float *team_gradient(const struct team *team, const struct parameter *parameter);
void team_gradient_written(const struct team *team, const struct parameter *parameter,
                           int is_first);
int team_accumulates(const struct team *team, int is_first);
/* Adds floats to the wide gradients of a parameter, or makes them those (exact reduction only). */
void team_gradient_add(const struct team *team, const struct parameter *parameter, const float *x,
                       int is_first);
/* y[n] = sum over `count` rows of x[count][n], or is added to what is there. */
void team_add_rows(struct team *team, const float *x, int count, int n, int is_added, float *y);
void team_progress(struct team *team);
/* x + count activation values. */
void *team_offset(const struct team *team, const void *x, size_t count);
/* Memory for so many activation values. */
void *team_activations(struct team *team, size_t count);

#endif
