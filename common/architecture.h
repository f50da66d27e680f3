/* architecture.h - the blocks of a trunk, RegNetY or ResNet, from the few numbers of a config.
 *
 * Both families are a stem and stages of bottleneck blocks (1x1, 3x3 in groups, 1x1, and a
 * shortcut), so one description serves all that builds, counts or names them; regnet.c and resnet.c
 * know how a family comes to its widths. Tensors bear torchvision's names. Pure: knows neither
 * device nor tensors, so the server can refuse a config with it. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_ARCHITECTURE_H
#define COMMON_ARCHITECTURE_H

#include <stdint.h>

#include "common/config.h"
#include "common/status.h"

enum {
    ARCHITECTURE_BLOCKS_MAX = 256,
    ARCHITECTURE_WIDTH_MAX = 65536,
    ARCHITECTURE_NAME_BYTES = 80
};

struct architecture_block {
    enum family family;
    int stage, index;           /* 1-based stage, 0-based block in it */
    int in_width;               /* channels that come in, */
    int inner_width, out_width; /* of the 3x3 convolution, and that go out; RegNetY: the same */
    int stride;                 /* of the 3x3 convolution and of the shortcut */
    int groups;                 /* of the 3x3 convolution */
    int squeeze_width;  /* hidden channels of squeeze-and-excitation, from in_width; 0: none */
    int has_projection; /* the shortcut is a convolution */
};

struct architecture {
    enum family family;
    int stem_width, stem_stride, stem_kernel;
    int has_stem_pool; /* 3x3 maximum of stride 2 behind the stem */
    int stage_count;
    int block_count;
    struct architecture_block blocks[ARCHITECTURE_BLOCKS_MAX];
};

/* Modules that hold tensors. */
enum architecture_module {
    MODULE_PROJ_CONV,
    MODULE_PROJ_NORM,
    MODULE_A_CONV,
    MODULE_A_NORM,
    MODULE_B_CONV,
    MODULE_B_NORM,
    MODULE_SQUEEZE_REDUCE,
    MODULE_SQUEEZE_EXPAND,
    MODULE_C_CONV,
    MODULE_C_NORM,
    MODULE_COUNT,
};

/* ERR_INPUT naming key and remedy: numbers that make no network, or one beyond the limits. */
enum status architecture_init(struct architecture *architecture, const struct config *config);
/* Whether architecture_init would succeed. */
enum status architecture_check(const struct config *config);
/* Channels after the last block. */
int architecture_width(const struct architecture *architecture);
/* Trainable numbers of the trunk: stem and blocks, no classifier. */
int64_t architecture_parameter_count(const struct architecture *architecture);
/* Multiplications (each with an addition) of the trunk's convolutions in the forward pass of one
 * image of size x size pixels. */
double architecture_multiplications(const struct architecture *architecture, int size);
/* The same of one block whose input has side x side pixels. */
double architecture_block_multiplications(const struct architecture_block *block, int side);
/* Side of what goes into the first block. */
int architecture_entry_side(const struct architecture *architecture, int size);
/* A side after a convolution or a maximum of that stride. */
int architecture_side_after(int side, int stride);

/* "trunk.trunk_output.block1.block1-0.f.a.0", "trunk.layer1.0.conv1": a tensor's name without
 * ".weight" and the like. The module must be one of the block's. */
void architecture_module_name(const struct architecture_block *block,
                              enum architecture_module module,
                              char ret_name[ARCHITECTURE_NAME_BYTES]);
/* The stem's convolution (0) or its BN (1). Static. */
const char *architecture_stem_name(enum family family, int is_norm);

#endif
