/* probe.h - linear classifiers on frozen features, one on each layer, trained side by side.
 *
 * The protocol of the paper (VISSL, linear_image_classification/imagenet1k): features of mean 0 and
 * variance 1 (standard.h), a linear layer with bias, cross-entropy, SGD with Nesterov's momentum
 * and weight decay, learning rate divided by 10 after 8/28, 16/28 and 24/28 of all steps. Products,
 * loss and update are the device's operations. One thread. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_PROBE_H
#define WORKER_EVAL_PROBE_H

#include <stdint.h>

#include "common/status.h"
#include "worker/device/device.h"
#include "worker/eval/feature_set.h"
#include "worker/eval/layers.h"

struct probe;

struct probe_rule {
    int class_count;
    int batch; /* rows of a step */
    double lr; /* of a batch of 256; scaled with the batch */
    double momentum, weight_decay;
    uint64_t steps; /* of all the training */
    uint64_t seed;
};

/* device is borrowed for its life. Weights begin normal with 0.01, biases at 0. ERR_INPUT: more
 * classifiers than memory could ever hold; ERR_DEVICE. */
enum status probe_create(struct device *device, const struct layer *layers, int layer_count,
                         const struct probe_rule *rule, struct probe **ret_probe);
void probe_destroy(struct probe *probe); /* NULL is fine */

/* Statistics of the features are those of these rows of the set, instead of the batches'. */
void probe_standardise(struct probe *probe, const struct feature_set *set,
                       const struct subset *rows);
/* The next step, on a batch: features[i] is [batch][width of layer i], labels [batch] from 0 to
 * class_count - 1. */
void probe_learn(struct probe *probe, const float *const *features, const int32_t *labels);
/* All steps that are left, on batches of these rows of the set. ERR_DEVICE. */
enum status probe_learn_set(struct probe *probe, const struct feature_set *set,
                            const struct subset *rows);
uint64_t probe_step(const struct probe *probe); /* steps done */
/* Mean loss of each classifier since the last call. ERR_DEVICE; ERR_INPUT: it is not finite, the
 * learning rate is too high. */
enum status probe_losses(struct probe *probe, double ret_losses[LAYERS_MAX]);
/* Percent of the set that each classifier gets right; a label that is none of its classes is never
 * right. ERR_DEVICE. */
enum status probe_score(struct probe *probe, const struct feature_set *set,
                        double ret_top1[LAYERS_MAX]);

/* What the schedule says. */
double probe_rate(const struct probe_rule *rule, uint64_t step);

#endif
