/* winograd.c - weights and geometry of convolutions by minimal filtering. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/winograd.h"

/* What a block of tiles takes before and after the products should lie in half of an L2 cache
 * beside the weights. A product takes six tiles. */
enum { BLOCK_BYTES = 400 * 1024, PRODUCT_TILES = 6, PRODUCTS_MIN = 8, PRODUCTS_MAX = 16 };

/* Where this is faster than oneDNN 2.6 on a Zen 4 (docs/benchmarks.md): of narrower groups the sums
 * between positions cost too much, with stride 2 the sooner; wider ones leave the cache; of small
 * images too much of the tiles hangs over. */
enum { HALF = 8, SIZE_MIN = 6, GROUP_MIN = 16, GROUP_MAX = 256, FAR_MIN = 48, FAR_MAX = 128 };

int winograd_side(const struct own_conv *conv)
{
    return conv->stride == 1 ? 4 : 5;
}

static size_t positions(const struct own_conv *conv)
{
    return (size_t)(winograd_side(conv) * winograd_side(conv));
}

int winograd_block(const struct own_conv *conv)
{
    const size_t product =
        2 * PRODUCT_TILES * positions(conv) * (size_t)conv->group * sizeof(float);
    const size_t count = BLOCK_BYTES / product;
    const int bounded = count > PRODUCTS_MAX ? PRODUCTS_MAX : (int)count;
    return PRODUCT_TILES * (bounded < PRODUCTS_MIN ? PRODUCTS_MIN : bounded);
}

int winograd_tiles_down(const struct own_conv *conv)
{
    return (conv->out_height + 1) / 2;
}

int winograd_tiles_across(const struct own_conv *conv)
{
    return (conv->out_width + 1) / 2;
}

static int is_suited(const struct own_conv *conv)
{
    const int least = conv->stride == 2 ? FAR_MIN : GROUP_MIN;
    const int most = conv->stride == 2 ? FAR_MAX : GROUP_MAX;
    return own_conv_is_3x3(conv) && conv->group % HALF == 0 && conv->group >= least &&
           conv->group <= most && conv->out_height >= SIZE_MIN && conv->out_width >= SIZE_MIN;
}

static size_t weight_bytes(const struct own_conv *conv)
{
    return positions(conv) * (size_t)conv->channels * (size_t)conv->group * sizeof(float);
}

/* Tiles before and after the products, the sums of the weight gradient, and a line of zeros beside
 * one that nobody reads. */
static size_t scratch_bytes(const struct own_conv *conv)
{
    const size_t group = (size_t)conv->group, block = (size_t)winograd_block(conv);
    return (positions(conv) * group * 2 * block + 2 * group) * sizeof(float) + weight_bytes(conv) +
           2 * positions(conv) * block * sizeof(int);
}

const struct own_conv_method winograd_method = {
    .threads_max = 1,
    .is_suited = is_suited,
    .weight_bytes = weight_bytes,
    .scratch_bytes = scratch_bytes,
};
