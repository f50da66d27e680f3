/* trunk.h - a RegNetY or ResNet without its classifier: images in, channel means of the last block
 * out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_TRUNK_H
#define WORKER_MODEL_TRUNK_H

#include "worker/model/block.h"
#include "worker/model/buckets.h"

enum { TRUNK_TAPS_MAX = 8 };

/* What one block puts out, copied before inference uses its memory again. */
struct trunk_tap {
    int block;
    float *values; /* [rows][out_pixels][width] of the first resolution, on the device */
};

struct trunk {
    struct team *team; /* borrowed */
    struct architecture architecture;
    float mean[3], std[3];
    uint8_t *bytes[CONFIG_CROPS_MAX]; /* [rows][size][size][3] on the device */
    /* Activations: images, the stem's convolution before and after BN and ReLU, and what goes into
     * the first block: the stem's output, or its maximum. */
    void *images[CONFIG_CROPS_MAX], *stem_conv[CONFIG_CROPS_MAX], *stem[CONFIG_CROPS_MAX];
    void *entry[CONFIG_CROPS_MAX];
    struct filter stem_filter;
    struct norm stem_norm;
    struct block *blocks;     /* [architecture.block_count]; owned */
    struct interior interior; /* of those that are recomputed */
    struct passing passing[CONFIG_CROPS_MAX];
    float *features; /* [rows of all resolutions][architecture_width] */
    struct gradient gradient[CONFIG_CROPS_MAX];
    int tap_count; /* none in training */
    struct trunk_tap taps[TRUNK_TAPS_MAX];
};

/* ERR_DEVICE: no memory or no implementation. */
enum status trunk_init(struct trunk *trunk, struct team *team, const struct config *config);
void trunk_done(struct trunk *trunk);
/* Once a step, or whenever parameters changed. */
void trunk_load_weights(struct trunk *trunk);
/* The next images of one resolution on their way; 0: the device cannot. */
int trunk_images_ahead(struct trunk *trunk, int resolution, const uint8_t *images, int count);
/* Host images of one resolution, NULL if they came ahead; count <= its rows. */
void trunk_load_images(struct trunk *trunk, int resolution, const uint8_t *images, int count);
/* -> features, and the values of all taps. */
enum status trunk_forward(struct trunk *trunk);
/* pixel_grad: gradient of features by row, already divided by the last block's pixels, laid out as
 * features. Gradients leave through buckets as they become complete. */
enum status trunk_backward(struct trunk *trunk, const float *pixel_grad, struct buckets *buckets);
/* Values of a row's largest activation for images of that size. */
size_t trunk_largest_row(const struct architecture *architecture, int size);
/* Pixels of the last block's output. */
int trunk_last_pixels(const struct trunk *trunk, int resolution);

#endif
