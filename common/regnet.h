/* regnet.h - the blocks of a RegNetY from its few numbers.
 *
 * Radosavovic et al., "Designing Network Design Spaces", CVPR 2020, equations 2 to 4: widths grow
 * linearly, are quantised to powers of wm, rounded to 8, and runs of equal width are stages. Every
 * rounding is half-to-even, which decides 800MF (136/16 = 8.5) and SE widths of 256GF (186.5).
 * Pure: knows neither device nor tensors, so the server can refuse a config with it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_REGNET_H
#define COMMON_REGNET_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"

enum { REGNET_BLOCKS_MAX = 256, REGNET_WIDTH_MAX = 65536 };

struct regnet_block {
    int stage, index;    /* 1-based stage, 0-based block in it: torchvision's "block1-0" */
    int in_width, width; /* channels */
    int stride;          /* 2 in the first block of a stage */
    int groups;          /* of the 3x3 convolution */
    int squeeze_width;   /* hidden channels of squeeze-and-excitation, from in_width */
    int has_projection;  /* the shortcut is a convolution */
};

struct regnet {
    int stem_width, stem_stride;
    int stage_count;
    int block_count;
    struct regnet_block blocks[REGNET_BLOCKS_MAX];
};

/* ERR_INPUT naming key and remedy: numbers that make no network, or one beyond the limits. */
enum status regnet_init(struct regnet *regnet, const struct config *config);
/* Whether regnet_init would succeed. */
enum status regnet_check(const struct config *config);
/* Channels after the last block. */
int regnet_width(const struct regnet *regnet);
/* Trainable numbers of the trunk: stem and blocks, no classifier. */
int64_t regnet_parameter_count(const struct regnet *regnet);

#endif
