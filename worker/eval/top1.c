/* top1.c - how many images a classifier gets right. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/eval/top1.h"

#include <stddef.h>

static int32_t largest(const float *logits, int classes)
{
    int32_t best = 0;
    for (int32_t c = 1; c < classes; c++)
        if (logits[c] > logits[best])
            best = c;
    return best;
}

int64_t top1_count(const float *logits, int rows, int classes, const int32_t *labels)
{
    int64_t right = 0;
    for (int row = 0; row < rows; row++)
        right += largest(logits + (ptrdiff_t)row * classes, classes) == labels[row];
    return right;
}
