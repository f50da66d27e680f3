/* inference.h - the trunk in eval mode: images in, features out.
 *
 * BN uses running statistics, activations share four buffers, and rows go through in portions that
 * keep those buffers small. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_INFERENCE_H
#define WORKER_MODEL_INFERENCE_H

#include "worker/model/trunk.h"

struct inference {
    struct team team;
    struct trunk trunk;
};

/* For images of size x size pixels. ERR_DEVICE. */
enum status inference_create(const struct config *config, struct state *state, int size,
                             struct inference **ret_inference);
void inference_destroy(struct inference *inference); /* NULL is fine */
int inference_size(const struct inference *inference);
/* images [rows][size][size][3] on the host -> features [rows][width] on the host, with the present
 * parameters. */
enum status inference_run(struct inference *inference, const uint8_t *images, int rows,
                          float *ret_features);

#endif
