/* loss_scale.c - what the loss is multiplied with, so that gradients in fp16 do not vanish. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/loss_scale.h"

#include <math.h>

double loss_scale_value(const struct loss_scale *scale, double largest)
{
    return fmax(ldexp(largest, -(int)scale->halvings), 1);
}

void loss_scale_commit(struct loss_scale *scale)
{
    if (scale->halvings == 0)
        return;
    scale->committed++;
    if (scale->committed < LOSS_SCALE_GROWTH)
        return;
    scale->halvings--;
    scale->committed = 0;
}

void loss_scale_skip(struct loss_scale *scale, double largest)
{
    if (loss_scale_value(scale, largest) > 1)
        scale->halvings++;
    scale->committed = 0;
}
