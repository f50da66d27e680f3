/* codes.h - which prototypes each assigned crop belongs to: Sinkhorn-Knopp over the global batch.
 *
 * SwAV, Caron et al. 2020, equations 3 to 5. P = exp(S/epsilon - max) stays as it is; two vectors
 * move: a over prototypes, b over samples. Only the sums over samples, K floats for each assigned
 * crop, cross between members, all crops of all heads of prototypes in one message. One maximum for
 * all crops of a head is fine: a constant factor of P cancels. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_SWAV_CODES_H
#define WORKER_SWAV_CODES_H

#include "worker/model/team.h"

/* Of one head of prototypes. */
struct code_set {
    int prototypes;
    float *p;       /* [crop][rows + queue_rows][prototypes] */
    float *a;       /* [crop][prototypes] */
    float *b;       /* [crop][rows + queue_rows] */
    float *q;       /* [crop][rows][prototypes] */
    float *targets; /* [crop + 1][rows][prototypes], see codes_target */
    float *max;     /* in the exchange area: [1] */
    float *y;       /* [crop][prototypes]: its part of codes.y */
    double *wide;   /* and of codes.wide */
};

struct codes {
    struct team *team; /* borrowed */
    int crops;         /* assigned */
    int rows;          /* images here, of one crop */
    int queue_rows;    /* places for images of the queue, of one crop */
    int iterations;
    float epsilon;
    int set_count;
    struct code_set sets[CONFIG_PROTOTYPES_MAX];
    size_t y_floats;  /* of all sets */
    float *y;         /* set by set; in the exchange area with fast reduction */
    double *wide;     /* exact reduction: y as pairs of doubles in the exchange area; else NULL */
    float *partial;   /* exact reduction: [prototypes], of some samples */
    float *ones;      /* [rows + queue_rows] */
    float *selection; /* [crop + 1][crop]: 1 where a target contains a crop's codes */
    float *maxima;    /* [crop + 1] */
    float *max;       /* in the exchange area: [set] */
};

void codes_init(struct codes *codes, struct team *team, const struct config *config, int rows,
                int queue_rows);
/* Where scores of queue images go before codes_compute: [queue_rows][prototypes]. */
float *codes_queue_scores(const struct codes *codes, int set, int crop);
/* scores: [set] of resolution 0, rows as ever. queue_count: of the queue's places in use here;
 * total: samples of all members together, queue included. */
enum status codes_compute(struct codes *codes, const float *const *scores, int queue_count,
                          double total);
/* The summed codes that a crop must predict, [rows][prototypes] by (slot, image): of all assigned
 * crops but itself; crop = crops for one that is not assigned. */
const float *codes_target(const struct codes *codes, int set, int crop);

#endif
