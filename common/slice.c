/* slice.c - who holds which slice of the optimizer's state. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/slice.h"

int slice_is_held(const struct slice_holding *holding, uint32_t slice, uint32_t count)
{
    if (holding->count == 1)
        return 1;
    return holding->count == count &&
           (holding->rank == slice || holding->rank == (slice + 1) % count);
}

uint32_t slice_find_holder(const struct slice_holding *holdings, uint32_t holder_count,
                           uint32_t slice, uint32_t count)
{
    uint32_t i = 0;
    while (i < holder_count && !slice_is_held(&holdings[i], slice, count))
        i++;
    return i;
}

static int is_whole(const struct slice_holding *holdings, uint32_t holder_count, uint32_t count)
{
    for (uint32_t slice = 0; slice < count; slice++)
        if (slice_find_holder(holdings, holder_count, slice, count) == holder_count)
            return 0;
    return 1;
}

/* Slices of different cuts are not pieced together: that would help only after a generation of
 * which some were never heard again. */
uint32_t slice_find_cut(const struct slice_holding *holdings, uint32_t holder_count)
{
    uint32_t tried = 0;
    for (uint32_t i = 0; i < holder_count; i++)
        if (holdings[i].count == 1)
            return 1;
    for (uint32_t i = 0; i < holder_count; i++) {
        const uint32_t count = holdings[i].count;
        if (count == tried || count == 0)
            continue;
        tried = count;
        if (is_whole(holdings, holder_count, count))
            return count;
    }
    return 0;
}
