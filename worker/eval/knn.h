/* knn.h - accuracy of the weighted nearest-neighbour vote, the measure of features without
 * training.
 *
 * Cosine similarity of features from which the mean of the training set was taken; the k nearest
 * vote with exp(similarity / 0.07) for their class (Wu et al., "Unsupervised Feature Learning via
 * Non-Parametric Instance Discrimination", CVPR 2018, section 3.4). Exact: every pair is compared.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_KNN_H
#define WORKER_EVAL_KNN_H

#include <stdint.h>

#include "common/status.h"
#include "worker/device/device.h"

enum { KNN_K_MAX = 1000 };

struct knn_set {
    int64_t count;
    int width;
    float *values;         /* [count][width]; changed by knn_top1 (centred and normalised) */
    const int32_t *labels; /* [count]; of train: 0 to some millions; of test: -1 is never right */
};

/* Percent of test whose class wins the vote of train; equal votes go to the smaller label. k is cut
 * to the size of train. The products run on the device. ERR_INPUT: widths differ, a set is empty,
 * or a label of train is negative or absurd. ERR_DEVICE. */
enum status knn_top1(struct device *device, struct knn_set *train, struct knn_set *test, int k,
                     double *ret_top1_percent);

#endif
