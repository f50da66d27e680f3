/* image_classifier.h - trunk and one linear layer as a network: images and labels in, gradients
 * out.
 *
 *   logits = features W^T + b,   L = 1/B sum over images of -log softmax(logits)[label]
 *
 * What finetuning trains. It stands on what pretraining stands on: rows by slots, BN statistics and
 * gradients summed over members, with exact reduction the same bits whoever holds which slots. Its
 * config has one kind of crop, one crop an image, a head of one layer, as wide as there are
 * classes, and no prototypes: the layer's tensors are head.0.weight and head.0.bias. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_IMAGE_CLASSIFIER_H
#define WORKER_MODEL_IMAGE_CLASSIFIER_H

#include "loader/loader.h"
#include "worker/model/linear.h"
#include "worker/model/slot_losses.h"
#include "worker/model/trunk.h"

struct image_classifier {
    struct team team;
    struct trunk trunk;
    struct linear layer;
    struct buckets buckets;
    struct slot_losses losses;
    double scale;                /* 1/B */
    float *logits, *logits_grad; /* [rows][classes] */
    float *targets;              /* [rows][classes], one-hot */
    float *features_grad;        /* [rows][feature width] */
    float *one_hot;              /* targets on the host; owned */
};

/* For slot_count slots of a step; config and state are borrowed. ERR_DEVICE. */
enum status image_classifier_create(const struct config *config, struct state *state,
                                    int slot_count, struct image_classifier **ret_classifier);
void image_classifier_destroy(struct image_classifier *classifier); /* NULL is fine */
/* Forward, loss, backward and the sums over members of step `number`: afterwards state->grads holds
 * the gradients of the whole batch. labels: [row] from 0 to classes - 1. ret_loss: L, the same on
 * every member. Errors as collective_allreduce. */
enum status image_classifier_compute(struct image_classifier *classifier,
                                     struct collective *collective, uint64_t number,
                                     const struct batch *batch, const int32_t *labels,
                                     double *ret_loss);
/* Running statistics take in those of the last step. */
void image_classifier_move_statistics(struct image_classifier *classifier, float momentum);

/* features [rows][width] -> logits [rows][classes], both on the device, by the layer of state. */
void image_classifier_logits(const struct state *state, const float *features, int rows,
                             float *logits);

#endif
