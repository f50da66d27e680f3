/* percentile.c - percentiles by sorting. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/percentile.h"

#include <math.h>
#include <stdlib.h>

#include "common/check.h"

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void percentile_sort(int64_t *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
}

int64_t percentile_of(const int64_t *sorted, size_t count, double percent)
{
    CHECK(count > 0 && percent >= 0 && percent <= 100);
    size_t rank = (size_t)ceil(percent / 100 * (double)count);
    return sorted[rank > 0 ? rank - 1 : 0];
}
