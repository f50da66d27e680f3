/* rate_limit.h - how often lines of one kind may be written.
 *
 * What goes wrong ten thousand times a second must not fill a disk, nor hide what goes wrong once.
 * Of each kind (the first word of its lines) `burst` lines pass in a window; the rest are counted.
 * Any thread; there is room for RATE_LIMIT_KINDS kinds, more limit each other. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef COMMON_RATE_LIMIT_H
#define COMMON_RATE_LIMIT_H

#include <stdatomic.h>
#include <stdint.h>

enum { RATE_LIMIT_KINDS = 256 };

struct rate_limit_kind {
    _Atomic uint32_t hash;  /* of its word; 0: of none yet */
    _Atomic uint32_t count; /* lines in this window */
    _Atomic int64_t window; /* its number; 0: none yet */
};

struct rate_limit {
    uint32_t burst;
    int64_t window_ms;
    struct rate_limit_kind kinds[RATE_LIMIT_KINDS];
};

enum rate_limit_answer {
    RATE_LIMIT_PASS,
    RATE_LIMIT_LAST, /* it passes, and is the last one in this window: to be told */
    RATE_LIMIT_DROP,
};

/* May a line that begins with this word be written? *ret_dropped: of the last window in which that
 * kind was dropped, how many, to be told now; mostly 0. */
enum rate_limit_answer rate_limit_ask(struct rate_limit *limit, const char *line, int64_t now_ms,
                                      uint32_t *ret_dropped);

#endif
