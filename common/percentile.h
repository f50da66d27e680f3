/* percentile.h - what benchmarks say of many measurements: p50, p99, the largest. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_PERCENTILE_H
#define COMMON_PERCENTILE_H

#include <stddef.h>
#include <stdint.h>

/* Sorts them, the smallest first. */
void percentile_sort(int64_t *values, size_t count);
/* The value that `percent` of them do not exceed (nearest rank: one that was measured, never one
 * between two). sorted: by percentile_sort, count > 0; percent from 0 to 100. */
int64_t percentile_of(const int64_t *sorted, size_t count, double percent);

#endif
