/* block.h - one bottleneck block of a RegNetY or ResNet, all resolutions in lock-step.
 *
 *   a = relu(bn(conv1x1 x))          b = relu(bn(conv3x3 a, stride, groups))
 *   y = relu(bn(conv1x1 (b * squeeze(b))) + shortcut),   shortcut = x or bn(conv1x1 x, stride)
 *
 * Radosavovic et al., CVPR 2020. A ResNet has no squeeze(b) (1 in its place), and c may be wider
 * than a and b. Resolutions go layer by layer together, so that their BN sums
 * travel in one message. Forward keeps every convolution's input and output, unless the block is
 * recomputed: then backward repeats forward out of x and the kept statistics, so nothing is
 * exchanged twice and the bits are the same. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_MODEL_BLOCK_H
#define WORKER_MODEL_BLOCK_H

#include "common/architecture.h"
#include "worker/model/filter.h"
#include "worker/model/norm.h"
#include "worker/model/squeeze.h"

/* Activations of a block at one resolution; all of them NHWC, by row. Inference reuses memory:
 * there a is its own convolution's output, and so on. */
struct block_tensors {
    const void *x;           /* borrowed: the previous block's y */
    void *a_conv, *a;        /* before and after BN and ReLU, at x's resolution */
    void *b_conv, *b_scaled; /* from here on at the output's; b * squeeze(b), b is never stored */
    void *c_conv, *proj_conv, *y;
};

enum { INTERIOR_OUTPUTS = 4 };

/* Memory for what is between x and y of one block, for blocks that are recomputed: they share it,
 * and it holds what the last of them computed. */
struct interior {
    void *at_input[CONFIG_CROPS_MAX][2]; /* each as large as the largest of its users needs */
    void *at_output[CONFIG_CROPS_MAX][INTERIOR_OUTPUTS]; /* in the order of struct block_tensors */
    const struct block *holder; /* whose tensors are there; NULL: nobody's */
};

/* Memory for a and b_scaled where a device has bands: they pass, out of one operation into the
 * next, and all blocks share it. */
struct passing {
    void *a, *b_scaled; /* NULL: blocks keep theirs */
};

struct block {
    struct team *team;         /* borrowed */
    int is_passing;            /* a and b_scaled are computed again in backward */
    struct interior *interior; /* borrowed; NULL: its tensors are kept */
    struct architecture_block shape;
    struct filter filter_a, filter_b, filter_c, filter_proj;
    struct norm norm_a, norm_b, norm_c, norm_proj;
    struct squeeze squeeze;
    int in_side[CONFIG_CROPS_MAX], out_side[CONFIG_CROPS_MAX];
    int out_pixels[CONFIG_CROPS_MAX];
    struct block_tensors tensors[CONFIG_CROPS_MAX];
};

/* What flows backwards between blocks at one resolution: the gradient of a block's output is
 * dy + dy2 + row_add by row; a sum that is never written down, the next kernel adds it up. The
 * three buffers change roles from block to block. */
struct gradient {
    void *dy, *dy2;       /* NULL: absent */
    const float *row_add; /* [rows][channels]; NULL: absent */
    void *buffers[3];     /* each as large as the largest activation */
};

/* What surrounds a block when it is built. */
struct block_place {
    const void *x[CONFIG_CROPS_MAX]; /* input at each resolution, and its side */
    int side[CONFIG_CROPS_MAX];
    void *const *reuse; /* inference's four buffers, of which x[0] is one; NULL in training */
    struct interior *interior;     /* the block is to be recomputed; NULL: kept */
    const struct passing *passing; /* [resolution] */
};

/* ERR_DEVICE. interior must live as long as the block. */
enum status block_init(struct block *block, struct team *team,
                       const struct architecture_block *shape, const struct block_place *place);
void block_done(struct block *block);

/* Once a step, before forward. */
void block_load_weights(struct block *block);
/* The first convolution, from x: the block before does it, or this for the first block. */
void block_enter(struct block *block);
/* next: is entered; NULL: there is none. pooled: means of y over a row's pixels, [rows of all
 * resolutions][width]; NULL: not wanted. */
enum status block_forward(struct block *block, struct block *next, float *pooled);
/* The first half of what comes before y: the block behind does it, or this for the last one. */
void block_leave(struct block *block, const struct gradient *gradient);
/* previous: is left; NULL: there is none. gradient: of y by resolution in, of x out. */
enum status block_backward(struct block *block, struct block *previous, struct gradient *gradient);
/* Its first parameter's gradient: everything from there on is complete after backward. */
const float *block_first_gradient(const struct block *block);

#endif
