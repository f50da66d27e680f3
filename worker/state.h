/* state.h - the whole training state as one run of floats with names.
 *
 * Everything that must survive lies in one block of fp32, in this order: parameters, BN running
 * statistics, momentum, feature queue. The block is what joiners receive by broadcast, what
 * snapshots store and what digests cover; so each of those is one loop over one array. Behind it,
 * in the same allocation but not part of the state, lie the gradients and the exchange area for
 * small reductions, because a collective works on a single region. state_layout depends only on the
 * config: any two members of a run have the same.
 *
 * With optimizer.sharded gradients have no place of their own: they lie where the block has the
 * momentum. From a verdict (or forming) until the next step is computed the whole momentum is
 * there, and the block is what it is without sharding (is_whole); in between, what counts are the
 * slices that members keep (momentum.h).
 *
 * Names are torchvision's with a prefix: trunk.stem.0.weight,
 * trunk.trunk_output.block1.block1-0.f.a.0.weight, or trunk.layer1.0.conv1.weight, ...; the head is
 * numbered as a torch Sequential (head.0 linear, head.1 BN if there is one, then ReLU, and so on),
 * prototypes.weight comes last, or prototypes0.weight, prototypes1.weight, ... of several heads (a
 * classifier that is finetuned has none); statistics end in .running_mean, .running_var; momentum
 * is momentum/NAME; the queue is queue/embeddings [crops assigned][queue_images][embedding], newest
 * image first. Parameters lie in the order of the forward pass, so backward completes their
 * gradients from the end. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_STATE_H
#define WORKER_STATE_H

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/status.h"
#include "worker/device/device.h"
#include "worker/loss_scale.h"
#include "worker/momentum.h"

enum state_kind { STATE_PARAMETER, STATE_STATISTIC, STATE_MOMENTUM, STATE_QUEUE };

/* What state_reset puts there; scale: the value, the standard deviation or the bound. */
enum state_fill { STATE_FILL_CONSTANT, STATE_FILL_NORMAL, STATE_FILL_UNIFORM };

struct state_tensor {
    char name[112];
    enum state_kind kind;
    int rank; /* dimensions used, 1 to 4 */
    int64_t shape[4];
    size_t offset; /* floats from the start of the block; multiple of 16 */
    size_t length; /* floats */
    enum state_fill fill;
    double fill_scale;
};

struct state_layout {
    int tensor_count;
    struct state_tensor *tensors; /* owned */
    size_t parameter_floats;      /* the block's first part, padding included */
    size_t statistic_floats;
    size_t momentum_floats; /* == parameter_floats */
    size_t queue_floats;
    size_t total_floats;    /* the block */
    size_t exchange_floats; /* for BN sums, Sinkhorn and loss */
    size_t wide_floats;     /* of the gradients as pairs of doubles, counted in floats; 0 = none */
    size_t group_statistic_floats; /* 0 with one BN group */
};

enum { STATE_PROTOTYPES_BYTES = 24 };
/* Of the prototypes of a head, without ".weight". */
void state_prototypes_name(const struct config *config, int head,
                           char ret_name[STATE_PROTOTYPES_BYTES]);
int state_is_prototypes(const struct state_tensor *tensor);
/* The config must have passed architecture_check. */
void state_layout_init(struct state_layout *layout, const struct config *config);
void state_layout_done(struct state_layout *layout);
/* NULL = no such tensor. */
const struct state_tensor *state_find(const struct state_layout *layout, const char *name);

struct state {
    struct state_layout layout;
    struct device *device; /* borrowed */
    float *block;          /* device memory: state, gradients, exchange, wide gradients, groups'
                              statistics */
    size_t bytes;          /* of all five: the region for collective_form */
    int fd;                /* memfd of it, -1 if the device has none */
    float *params, *statistics, *momentum, *queue; /* into block */
    float *grads;         /* [parameter_floats], laid out as params; sharded: == momentum */
    int is_sharded;       /* optimizer.sharded */
    int is_whole;         /* the block has the momentum of `step`; not sharded: always */
    struct momentum kept; /* sharded: the slices, of `step`, that are kept here */
    struct slice_holding
        *holdings;   /* [member] in the exchange area, while one is formed; sharded */
    float *exchange; /* [exchange_floats] */
    void *wire;      /* memory of the device for gradients that travel as bf16; NULL: they do not */
    size_t wire_bytes;
    uint8_t *digest_piece; /* host memory through which digests read the device's; owned */
    double *wide_grads; /* [parameter_floats] pairs (device.h wide_add); NULL with fast reduction */
    float *group_statistics; /* [BN group][resolution][statistic_floats] of the present step, each
                                laid out as statistics; of no meaning with one group */
    /* Not floats, and small: carried in messages and snapshot metadata. */
    uint64_t step;         /* committed steps */
    uint32_t queue_filled; /* images in the queue */
    struct loss_scale loss_scale;
};

/* A parameter as its layer sees it. */
struct parameter {
    float *value, *grad; /* into the block */
    size_t length;
};

/* ERR_INPUT: numbers that make no network. ERR_DEVICE: not enough memory. */
enum status state_create(const struct config *config, struct device *device,
                         struct state **ret_state);
void state_destroy(struct state *state);
/* Where a parameter or a statistic of that name lies; it must exist. */
struct parameter state_parameter(const struct state *state, const char *name);
float *state_statistic(const struct state *state, const char *name);
/* Initial parameters: functions of (seed, name), so every member makes the same.
 * Convolutions as model.conv_start says (He-normal by fan-out without division by groups, or
 * uniform by fan-in), linear layers and SE biases
 * uniform in 1/sqrt(fan-in) as torch does, prototypes unit vectors. step, queue_filled and
 * loss_scale become 0. */
void state_reset(struct state *state, uint64_t seed);
/* What that puts into one tensor: ret_values [length]. */
void state_fill(const struct state_tensor *tensor, uint64_t seed, float *ret_values);
/* Sharded: keeps the slices of member `rank` of `size` out of the whole momentum. ERR_DEVICE: not
 * enough memory. Not sharded: does nothing. */
enum status state_keep_slices(struct state *state, int rank, int size);
/* Sharded: what there is of the momentum is of another state. */
void state_forget_momentum(struct state *state);
/* XXH3 of the block (padding is zero), piece by piece. */
uint64_t state_digest(struct state *state);
uint64_t state_gradient_digest(struct state *state);

#endif
