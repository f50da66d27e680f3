/* inference.h - the trunk in eval mode: images in, features out, also those of blocks within.
 *
 * BN uses running statistics, activations share four buffers, and rows go through in portions that
 * keep those buffers small. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_INFERENCE_H
#define WORKER_MODEL_INFERENCE_H

#include "worker/model/trunk.h"

/* The output of a block, averaged over the cells of a grid as torch's AdaptiveAvgPool2d cuts them.
 */
struct inference_tap {
    int block;
    int rows, columns; /* of the grid; 1 to the side of the block's output */
};

struct inference {
    struct team team;
    struct trunk trunk;
    struct inference_tap taps[TRUNK_TAPS_MAX];
    float *pixels; /* the output of a tapped block, on the host; owned; NULL without taps */
};

/* For images of size x size pixels. ERR_DEVICE. */
enum status inference_create(const struct config *config, struct state *state, int size,
                             struct inference **ret_inference);
void inference_destroy(struct inference *inference); /* NULL is fine */
/* Makes inference_run_taps look at these blocks too; once. ERR_DEVICE. */
enum status inference_tap(struct inference *inference, const struct inference_tap *taps, int count);
int inference_width(const struct inference *inference); /* of the features */
/* images [rows][size][size][3] on the host -> features [rows][width] on the host, with the present
 * parameters. */
enum status inference_run(struct inference *inference, const uint8_t *images, int rows,
                          float *ret_features);
/* The same of the taps instead: ret[i] is [rows][grid rows][grid columns][channels]. */
enum status inference_run_taps(struct inference *inference, const uint8_t *images, int rows,
                               float *const *ret);

#endif
