/* intervals.h - which byte ranges are there: a sorted list of disjoint half-open intervals. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef SERVER_INTERVALS_H
#define SERVER_INTERVALS_H

#include <stddef.h>
#include <stdint.h>

struct interval {
    uint64_t begin, end;
};

struct intervals {
    size_t count, capacity;
    struct interval *items; /* owned; neither overlap nor touch */
};

void intervals_init(struct intervals *intervals);
void intervals_done(struct intervals *intervals);
void intervals_clear(struct intervals *intervals);
/* Adds [begin, end), merging with what it overlaps or touches. */
void intervals_add(struct intervals *intervals, uint64_t begin, uint64_t end);
/* 1 if all of [0, total) is there. */
int intervals_cover(const struct intervals *intervals, uint64_t total);

#endif
