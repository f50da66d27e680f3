/* expiry.c - which living shards go. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/expiry.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "server/core.h"
#include "server/shard_records.h"

static const int64_t day_ms = 24LL * 3600 * 1000;

struct stream_policy stream_policy_of(const struct config *config)
{
    return (struct stream_policy){
        .max_age_days = config->data.max_age_days,
        .max_bytes = (uint64_t)config->data.max_gb << 30,
        .is_repeating = config->data.exhausted == EXHAUSTED_REPEAT,
        .is_unlinking = config->data.unlink_expired != 0,
    };
}

struct candidate {
    int64_t created_ms;
    uint32_t id;
};

static int by_age(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->created_ms != y->created_ms)
        return x->created_ms < y->created_ms ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

static uint32_t list_living(const struct stream *stream, const struct expiry_fact *facts,
                            uint32_t count, struct candidate *ret_living, uint64_t *ret_bytes)
{
    uint32_t living = 0;
    *ret_bytes = 0;
    for (uint32_t id = 0; id < count; id++) {
        if (!facts[id].is_living || stream_is_retired(stream, id))
            continue;
        ret_living[living++] = (struct candidate){facts[id].created_ms, id};
        *ret_bytes += facts[id].bytes;
    }
    qsort(ret_living, living, sizeof(*ret_living), by_age);
    return living;
}

uint32_t expiry_choose(const struct stream *stream, const struct expiry_fact *facts,
                       uint32_t fact_count, const struct stream_policy *policy, int64_t wall_ms,
                       uint32_t *ret_ids)
{
    uint64_t bytes;
    uint32_t expired = 0, known = stream_shard_count(stream);
    struct candidate *living = mem_array(fact_count + 1, sizeof(*living));
    uint32_t count =
        list_living(stream, facts, fact_count < known ? fact_count : known, living, &bytes);
    for (uint32_t i = 0; i < count; i++) {
        int is_old = policy->max_age_days > 0 &&
                     wall_ms - living[i].created_ms > policy->max_age_days * day_ms;
        int is_much = policy->max_bytes > 0 && bytes > policy->max_bytes && i + 1 < count;
        if (!is_old && !is_much)
            break; /* younger ones are not older, and there is no less of them */
        bytes -= facts[living[i].id].bytes;
        ret_ids[expired++] = living[i].id;
    }
    mem_free(living);
    return expired;
}

void expiry_note(struct coordinator *c, uint32_t shard, const struct expiry_fact *fact)
{
    if (shard >= c->fact_count) {
        uint32_t count = shard + 1 + c->fact_count / 2;
        c->facts = mem_resize(c->facts, count * sizeof(*c->facts));
        memset(c->facts + c->fact_count, 0, (count - c->fact_count) * sizeof(*c->facts));
        c->fact_count = count;
    }
    c->facts[shard] = *fact;
}

static void retire(struct coordinator *c, uint32_t id, int64_t wall_ms)
{
    char reason[64];
    snprintf(reason, sizeof(reason), "expired: %lld h old",
             (long long)((wall_ms - c->facts[id].created_ms) / 3600000));
    shard_records_take_out(c, id, reason);
}

void expiry_check(struct coordinator *c, int64_t wall_ms)
{
    enum { AT_ONCE = 32 }; /* some 10 ms of journal */
    if (c->fact_count == 0)
        return;
    uint32_t *ids = mem_array(stream_shard_count(c->stream) + 1, sizeof(*ids));
    uint32_t count = expiry_choose(c->stream, c->facts, c->fact_count, &c->policy, wall_ms, ids);
    for (uint32_t i = 0; i < count && i < AT_ONCE; i++)
        retire(c, ids[i], wall_ms);
    if (count > 0)
        shard_records_release(c);
    mem_free(ids);
}

void expiry_take(struct coordinator *c, const struct stream_policy *policy)
{
    c->policy = *policy;
    stream_set_repeating(c->stream, policy->is_repeating != 0);
}

static int is_equal(const struct stream_policy *a, const struct stream_policy *b)
{
    return a->max_age_days == b->max_age_days && a->max_bytes == b->max_bytes &&
           a->is_repeating == b->is_repeating && a->is_unlinking == b->is_unlinking;
}

void expiry_order(struct coordinator *c, const struct stream_policy *policy, const char *reason)
{
    if (is_equal(&c->policy, policy))
        return;
    struct journal_record record = {.kind = JOURNAL_POLICY, .policy = *policy};
    core_journal(c, &record);
    expiry_take(c, policy);
    actions_event(c->out, "stream_policy", 0,
                  "max_age_days=%lld max_bytes=%llu exhausted=%s unlink=%u reason=\"%s\"",
                  (long long)policy->max_age_days, (unsigned long long)policy->max_bytes,
                  policy->is_repeating ? "repeat" : "wait", policy->is_unlinking, reason);
}
