/* top1.h - how many images a classifier gets right. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef WORKER_EVAL_TOP1_H
#define WORKER_EVAL_TOP1_H

#include <stdint.h>

/* Of rows with logits [rows][classes]: those whose largest one, the first of equals, is that of the
 * label. A label that is none of the classes is never right. */
int64_t top1_count(const float *logits, int rows, int classes, const int32_t *labels);

#endif
