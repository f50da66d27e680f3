/* rate_limit.c - how often lines of one kind may be written. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/rate_limit.h"

/* FNV-1a of the first word. */
static uint32_t hash_of(const char *line)
{
    uint32_t hash = 2166136261U;
    for (; *line != 0 && *line != ' '; line++)
        hash = (hash ^ (unsigned char)*line) * 16777619U;
    return hash;
}

enum rate_limit_answer rate_limit_ask(struct rate_limit *limit, const char *line, int64_t now_ms,
                                      uint32_t *ret_dropped)
{
    const uint32_t at = hash_of(line) % RATE_LIMIT_KINDS;
    const int64_t window = 1 + now_ms / limit->window_ms;
    int64_t before = atomic_load(&limit->kinds[at].window);
    *ret_dropped = 0;
    if (before != window &&
        atomic_compare_exchange_strong(&limit->kinds[at].window, &before, window)) {
        const uint32_t count = atomic_exchange(&limit->kinds[at].count, 0);
        *ret_dropped = count > limit->burst ? count - limit->burst : 0;
    }
    const uint32_t count = atomic_fetch_add(&limit->kinds[at].count, 1) + 1;
    return count < limit->burst    ? RATE_LIMIT_PASS
           : count == limit->burst ? RATE_LIMIT_LAST
                                   : RATE_LIMIT_DROP;
}
