/* intervals.c - which byte ranges are there. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/intervals.h"

#include <string.h>

#include "common/mem.h"

void intervals_init(struct intervals *intervals)
{
    *intervals = (struct intervals){0};
}

void intervals_done(struct intervals *intervals)
{
    mem_free(intervals->items);
    intervals_init(intervals);
}

void intervals_clear(struct intervals *intervals)
{
    intervals->count = 0;
}

static void reserve_one(struct intervals *intervals)
{
    if (intervals->count < intervals->capacity)
        return;
    intervals->capacity = intervals->capacity * 2 + 16;
    intervals->items =
        mem_resize(intervals->items, intervals->capacity * sizeof(*intervals->items));
}

void intervals_add(struct intervals *intervals, uint64_t begin, uint64_t end)
{
    if (begin >= end)
        return;
    reserve_one(intervals);
    struct interval *items = intervals->items;
    size_t first = 0; /* first that ends at or behind begin */
    while (first < intervals->count && items[first].end < begin)
        first++;
    size_t last = first; /* first that begins behind end */
    while (last < intervals->count && items[last].begin <= end) {
        begin = items[last].begin < begin ? items[last].begin : begin;
        end = items[last].end > end ? items[last].end : end;
        last++;
    }
    memmove(items + first + 1, items + last, (intervals->count - last) * sizeof(*items));
    items[first] = (struct interval){begin, end};
    intervals->count = intervals->count + 1 - (last - first);
}

int intervals_cover(const struct intervals *intervals, uint64_t total)
{
    return intervals->count == 1 && intervals->items[0].begin == 0 &&
           intervals->items[0].end >= total;
}
