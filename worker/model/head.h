/* head.h - projection head, unit embeddings and prototype scores, once on the rows of all
 * resolutions.
 *
 *   z = linear (BN) ReLU ... linear (features),  embeddings = z / |z|,  scores = embeddings C^T
 *
 * There may be several C (SwAV's nmb_prototypes as a list), each with scores of its own.
 * The rows of C, the prototypes, are unit vectors at every forward: they start so, and step_apply
 * makes them so after every update. That is SwAV's "before every forward" without a step_compute
 * that changes parameters, and snapshots hold them as they are used. All fp32. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_HEAD_H
#define WORKER_MODEL_HEAD_H

#include "worker/model/linear.h"
#include "worker/model/norm.h"

/* A hidden layer's BN works on activations, as the trunk's does. */
struct head_layer {
    struct linear linear;
    int has_norm, is_last;
    struct norm norm;
    const float *x;                    /* [rows][in]; borrowed */
    float *y;                          /* [rows][out] after BN and ReLU */
    float *y_grad;                     /* [rows][out] */
    float *linear_out;                 /* [rows][out] before BN; norm only */
    void *norm_x, *norm_y, *norm_grad; /* around BN, as activations */
};

/* One of the heads that share the embeddings. */
struct prototypes {
    int count;                   /* K */
    struct linear linear;        /* [K][embedding], no bias */
    float *norms;                /* [K] before the last normalisation */
    float *scores, *scores_grad; /* [rows][K] */
};

struct head {
    struct team *team; /* borrowed */
    int layer_count, embedding, prototype_heads;
    struct head_layer layers[CONFIG_HEAD_MAX];
    struct prototypes prototypes[CONFIG_PROTOTYPES_MAX];
    float *embeddings, *norms; /* [rows][embedding], [rows] */
    float *embeddings_grad;
    float *features_grad; /* [rows][feature width] */
};

void head_init(struct head *head, struct team *team, const struct config *config,
               const float *features, int width);
/* features -> embeddings, scores. */
enum status head_forward(struct head *head);
/* scores_grad of all prototypes -> features_grad, divided by pixels[resolution] (of the trunk's
 * last block, whose mean the features are). */
enum status head_backward(struct head *head, const int *pixels);
const float *head_first_gradient(const struct head *head);
/* Unit prototypes after an update. */
void head_normalize_prototypes(struct head *head);

#endif
