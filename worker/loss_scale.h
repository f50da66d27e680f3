/* loss_scale.h - what the loss is multiplied with, so that gradients in fp16 do not vanish. Pure.
 *
 * Dynamic scaling as Micikevicius et al. 2018 (section 3.2) have it: a step that is skipped halves
 * the scale, LOSS_SCALE_GROWTH committed ones after that double it again, up to the one the run
 * began with. It moves on verdicts alone, which every member gets and the journal holds, so members
 * agree without a message; any skip counts, for what else skips a step is rare and costs no more
 * than a while at half the scale. Scales are powers of two: with fast reduction they
 * change no bit of a gradient that neither vanishes nor overflows. Exact reduction rounds to a grid
 * of fixed size, so there a scaled gradient keeps bits that an unscaled one loses. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_LOSS_SCALE_H
#define WORKER_LOSS_SCALE_H

#include <stdint.h>

/* GROWTH: committed steps until it is tried whether twice the scale fits by now. HALVINGS_MAX:
 * from the largest train.loss_scale, 65536, down to 1. */
enum { LOSS_SCALE_GROWTH = 2000, LOSS_SCALE_HALVINGS_MAX = 16 };

/* All zero at the start of a run. */
struct loss_scale {
    uint32_t halvings;  /* times that the scale is halved at present */
    uint32_t committed; /* steps since it last moved; 0 while halvings is 0 */
};

/* largest: train.loss_scale, a power of two. At least 1. */
double loss_scale_value(const struct loss_scale *scale, double largest);
void loss_scale_commit(struct loss_scale *scale);
void loss_scale_skip(struct loss_scale *scale, double largest);

#endif
