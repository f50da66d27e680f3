/* norm.h - batch normalisation over slots, whoever holds them.
 *
 * Statistics belong to a resolution and a BN group, and are sums that members exchange: one message
 * for all resolutions of a layer (their number decides the speed of small models, not their size),
 * and of a second layer that goes along, [group][layer][resolution][2][channels]. A group's part is
 * summed among the members who hold slots of it (bn_groups.h); where they cannot be told apart the
 * whole is among all, zero for groups of which nothing is here. With exact reduction the message is
 * pairs of doubles to which the sums of each slot are added, and everybody's sums are rounded to
 * floats afterwards. Counts are pure functions of the slots, so they need no message. Batch
 * statistics go where step_apply finds them; with several groups they go to
 * state->group_statistics, from who holds the first slot of a group, and their average counts as
 * the step's (each group's is an equally good estimate; the seed keeps rank 0's). A joint layer (of
 * the head, which runs once on all rows) has one set of statistics for all resolutions together. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_NORM_H
#define WORKER_MODEL_NORM_H

#include "worker/model/team.h"

struct norm {
    struct team *team; /* borrowed */
    int channels;
    int set_count;                /* sets of statistics: one for each resolution, or 1 when joint */
    int pixels[CONFIG_CROPS_MAX]; /* of one row */
    struct parameter gamma, beta;
    float *running_mean, *running_var;
    /* [group]: [resolution][2][channels], this member's, then everybody's. The message itself, or
     * with exact reduction what becomes of it. Strides count values. */
    float *sums;
    size_t sums_stride;
    double *wide; /* exact reduction: the message, pairs */
    size_t message_stride;
    float *joined;                       /* [group][2][channels] over all resolutions; joint only */
    float *mean, *invstd, *scale, *bias; /* [set][group][channels] */
    float *scratch;                      /* [2][channels] */
    size_t mean_at, var_at;              /* of this layer among the state's statistics */
};

struct norm_place {
    const char *name; /* of the tensors, without .weight */
    int channels;
    const int *pixels; /* [resolution] of one row */
    int is_joint;
    int message; /* 0 or 1: layers of one can be summed while the other's sums are still read */
    size_t floats_before, floats_behind; /* of another layer that shares the message, by group */
};

void norm_init(struct norm *norm, struct team *team, const struct norm_place *place);
/* Floats that a layer of so many channels has in a message, for each BN group. */
size_t norm_group_floats(const struct team *team, int channels);

/* Inference: scale and bias from the running statistics. */
void norm_use_running(struct norm *norm);
/* Training, forward: sums of x of every piece, in order, then the exchange, then apply. Each
 * piece's norm_summed comes before the next piece's norm_sums, and not before rows_end. */
void norm_sums(struct norm *norm, struct piece piece, const void *x);
void norm_summed(struct norm *norm, struct piece piece);
/* second (which lies behind it in the message; may be NULL) goes along. */
enum status norm_share(struct norm *norm, struct norm *second);
/* Fills in scale, bias, rows, pixels_per_row and channels; the tensors, and row_scale and pooled,
 * are whole resolutions.
 * skip_norm: the skip still lacks its own normalisation; may be NULL. */
void norm_apply(struct norm *norm, struct piece piece, const struct bn_apply *tensors,
                const struct norm *skip_norm);

/* Backward: the same, sums and apply with the same tensors; the statistics are filled in. */
void norm_backward_sums(struct norm *norm, struct piece piece, const struct bn_backward *tensors);
void norm_backward_summed(struct norm *norm, struct piece piece);
/* Also leaves the gradients of gamma and beta, of this member's rows alone as all gradients are. */
enum status norm_backward_share(struct norm *norm, struct norm *second);
void norm_backward_apply(struct norm *norm, struct piece piece, const struct bn_backward *tensors,
                         void *dx);
/* The gradient of norm_apply's row_scale, from tensors' dy and x. */
void norm_row_scale_backward(struct norm *norm, struct piece piece,
                             const struct bn_backward *tensors, float *ds);

#endif
