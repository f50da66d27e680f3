/* direct.c - weights and sizes of direct 3x3 convolutions with bf16. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/device/cpu/direct.h"

#include "worker/device/cpu/bf16.h"

/* Where it is faster than oneDNN 2.6 on a Zen 4 (docs/benchmarks.md). */
enum { VECTOR = 16, HALF = 8, GROUP_MIN = 40, GROUP_MAX = 128 };

static int is_suited(const struct own_conv *conv)
{
    return own_conv_is_3x3(conv) && conv->group % VECTOR == HALF && conv->group >= GROUP_MIN &&
           conv->group <= GROUP_MAX;
}

static size_t weight_bytes(const struct own_conv *conv)
{
    return (size_t)DIRECT_TAPS * (size_t)conv->channels * (size_t)conv->group * sizeof(uint16_t);
}

/* The sums of the weight gradient, pairs of pixels of x and dy, a pixel of zeros beside one that
 * nobody reads, and the lists. */
static size_t scratch_bytes(const struct own_conv *conv)
{
    const size_t group = (size_t)conv->group;
    const size_t values =
        DIRECT_TAPS * (size_t)conv->channels * group + DIRECT_BLOCK * group + 2 * group;
    return values * sizeof(float) + DIRECT_BLOCK * (DIRECT_TAPS + 1) * sizeof(int);
}

void direct_weights(struct own_conv *conv, const float *weights)
{
    const int group = conv->group;
    for (int channel = 0; channel < conv->channels; channel++)
        for (int in = 0; in < group; in++)
            for (int tap = 0; tap < DIRECT_TAPS; tap++) {
                const int out = channel % group;
                const ptrdiff_t row = (ptrdiff_t)(channel / group) * DIRECT_TAPS + tap;
                const uint16_t weight = bf16_of(*weights++);
                uint16_t *forward = conv->forward, *transposed = conv->transposed;
                forward[((row * (group / 2) + in / 2) * group + out) * 2 + in % 2] = weight;
                transposed[((row * (group / 2) + out / 2) * group + in) * 2 + out % 2] = weight;
            }
}

const struct own_conv_method direct_method = {
    .threads_max = 1,
    .is_suited = is_suited,
    .weight_bytes = weight_bytes,
    .scratch_bytes = scratch_bytes,
};
