/* squeeze.h - squeeze-and-excitation: two small layers turn a row's channel means into the scale of
 * its channels.
 *
 * Hu et al., CVPR 2018. It sees rows, not pixels, so it runs once on the rows of all resolutions.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_SQUEEZE_H
#define WORKER_MODEL_SQUEEZE_H

#include "worker/model/linear.h"

struct squeeze {
    struct team *team; /* borrowed */
    struct linear reduce, expand;
    /* [rows of all resolutions][channels], except hidden. */
    float *pooled;     /* in: means over the pixels of a row */
    float *scale;      /* out, in (0, 1) */
    float *scale_grad; /* in, backward; overwritten */
    float *pixel_grad; /* out, backward: what every pixel of the row adds to its gradient */
    float *hidden, *hidden_grad; /* [rows][hidden] */
};

struct squeeze_place {
    const char *reduce, *expand; /* of the layers' tensors, without .weight */
    int channels, hidden;
};

void squeeze_init(struct squeeze *squeeze, struct team *team, const struct squeeze_place *place);
/* pooled -> scale. */
void squeeze_forward(struct squeeze *squeeze);
/* scale_grad -> pixel_grad; pixels: of a row, by resolution. */
void squeeze_backward(struct squeeze *squeeze, const int *pixels);
/* The part of one of its arrays that belongs to a resolution. */
float *squeeze_part(const struct squeeze *squeeze, float *array, int resolution);

#endif
