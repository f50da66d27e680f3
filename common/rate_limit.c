/* rate_limit.c - how often lines of one kind may be written. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "common/rate_limit.h"

/* FNV-1a of the first word; never 0. */
static uint32_t hash_of(const char *line)
{
    uint32_t hash = 2166136261U;
    for (; *line != 0 && *line != ' '; line++)
        hash = (hash ^ (unsigned char)*line) * 16777619U;
    return hash != 0 ? hash : 1;
}

/* A place is taken once and for ever. When there are more kinds than places, the last ones share.
 */
static struct rate_limit_kind *place_of(struct rate_limit *limit, uint32_t hash)
{
    for (uint32_t i = 0; i < RATE_LIMIT_KINDS; i++) {
        struct rate_limit_kind *kind = &limit->kinds[(hash + i) % RATE_LIMIT_KINDS];
        uint32_t known = atomic_load(&kind->hash);
        if (known == hash ||
            (known == 0 &&
             (atomic_compare_exchange_strong(&kind->hash, &known, hash) || known == hash)))
            return kind;
    }
    return &limit->kinds[hash % RATE_LIMIT_KINDS];
}

enum rate_limit_answer rate_limit_ask(struct rate_limit *limit, const char *line, int64_t now_ms,
                                      uint32_t *ret_dropped)
{
    struct rate_limit_kind *kind = place_of(limit, hash_of(line));
    const int64_t window = 1 + now_ms / limit->window_ms;
    int64_t before = atomic_load(&kind->window);
    *ret_dropped = 0;
    if (before != window && atomic_compare_exchange_strong(&kind->window, &before, window)) {
        const uint32_t count = atomic_exchange(&kind->count, 0);
        *ret_dropped = count > limit->burst ? count - limit->burst : 0;
    }
    const uint32_t count = atomic_fetch_add(&kind->count, 1) + 1;
    return count < limit->burst    ? RATE_LIMIT_PASS
           : count == limit->burst ? RATE_LIMIT_LAST
                                   : RATE_LIMIT_DROP;
}
