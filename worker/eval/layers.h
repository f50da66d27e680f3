/* layers.h - which activations of the trunk a probe looks at: res4, res5, avgpool, each on a grid.
 *
 * Named as VISSL does: stage S of the network is res(S+1), taken after its last block; avgpool is
 * the last stage on a grid of one cell, the trunk's features. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_LAYERS_H
#define WORKER_EVAL_LAYERS_H

#include "common/config.h"
#include "common/status.h"

enum {
    LAYERS_MAX = 8,
    LAYER_NAME_BYTES = 32,
    LAYER_WIDTH_USUAL = 9216, /* 3x3 of 1024 channels, res4 of a ResNet-50 (Goyal et al. 2019) */
};

struct layer {
    char name[LAYER_NAME_BYTES]; /* as it was asked for: "res4" or "res4:3x3" */
    int block;
    int rows, columns; /* of the grid */
    int channels;
    int width; /* rows * columns * channels */
};

/* words: "res4:2x1,avgpool"; NULL: the last two stages and avgpool. size: of pictures, in pixels. A
 * grid that is not named is the largest square with LAYER_WIDTH_USUAL numbers or less. ERR_INPUT: a
 * layer that the network does not have, or a grid finer than its activations. */
enum status layers_parse(const char *words, const struct config *config, int size,
                         struct layer ret_layers[LAYERS_MAX], int *ret_count);

#endif
