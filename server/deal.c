/* deal.c - how many slots of a step each member computes. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/deal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"

enum {
    DEAL_WARM_STEPS = 2,  /* after a change: memory is planned and touched for the first time */
    DEAL_REST_STEPS = 10, /* between two changes: time for the new speeds to show */
    DEAL_PATIENCE = 8,    /* steps in a row that must ask for a change */
    DEAL_TEXT_BYTES = 512,
};

static const double DEAL_GAIN = 0.1;   /* a change must shorten the step by this part of it */
static const double DEAL_SMOOTH = 0.1; /* weight of the newest step */
static const double DEAL_LEAP = 2.0; /* a single step counts as at most so much slower or faster */

static double slot_us_of(const double *slot_us, uint32_t member)
{
    return slot_us != NULL ? slot_us[member] : 1.0;
}

/* Everybody's whole part of the slots, counts[count]; returns how many are dealt by that. */
static uint32_t deal_whole_parts(uint32_t slots, uint32_t count, const double *slot_us,
                                 uint32_t least, uint32_t *counts)
{
    double total = 0.0;
    uint32_t dealt = 0;
    for (uint32_t i = 0; i < count; i++)
        total += 1.0 / slot_us_of(slot_us, i);
    for (uint32_t i = 0; i < count; i++) {
        counts[i] = (uint32_t)floor(slots / (slot_us_of(slot_us, i) * total));
        counts[i] = counts[i] > least ? counts[i] : least;
        dealt += counts[i];
    }
    return dealt;
}

/* One more to whoever would then be done first. */
static void deal_one(uint32_t count, const double *slot_us, uint32_t *counts)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < count; i++)
        if ((counts[i] + 1) * slot_us_of(slot_us, i) <
            (counts[best] + 1) * slot_us_of(slot_us, best))
            best = i;
    counts[best]++;
}

/* One less for whoever is done last; nobody falls below `least`. */
static void take_one(uint32_t count, const double *slot_us, uint32_t least, uint32_t *counts)
{
    uint32_t worst = count;
    for (uint32_t i = 0; i < count; i++)
        if (counts[i] > least && (worst == count || counts[i] * slot_us_of(slot_us, i) >=
                                                        counts[worst] * slot_us_of(slot_us, worst)))
            worst = i;
    CHECK(worst < count);
    counts[worst]--;
}

void deal_slots(uint32_t slots, uint32_t count, const double *slot_us, uint32_t *ret_starts)
{
    uint32_t least = slots >= count ? 1 : 0;
    uint32_t *counts = ret_starts + 1;
    uint32_t dealt = deal_whole_parts(slots, count, slot_us, least, counts);
    for (; dealt < slots; dealt++)
        deal_one(count, slot_us, counts);
    for (; dealt > slots; dealt--)
        take_one(count, slot_us, least, counts);
    ret_starts[0] = 0;
    for (uint32_t i = 0; i < count; i++)
        ret_starts[i + 1] += ret_starts[i];
    CHECK(ret_starts[count] == slots);
}

/* How long the slowest takes. */
static double time_of(uint32_t count, const double *slot_us, const uint32_t *starts)
{
    double longest = 0.0;
    for (uint32_t i = 0; i < count; i++)
        longest = fmax(longest, (starts[i + 1] - starts[i]) * slot_us[i]);
    return longest;
}

static uint32_t *starts_create(uint32_t count)
{
    return mem_array(count + 1, sizeof(uint32_t));
}

/* Takes over `starts`, for steps from `step` on. */
static void set_deal(struct coordinator *c, uint32_t *starts, uint64_t step)
{
    mem_free(c->deal.starts_before);
    c->deal.starts_before = c->deal.starts;
    c->deal.starts = starts;
    c->deal.step = step;
    c->deal.wishes = 0;
}

void deal_evenly(struct coordinator *c, uint32_t count)
{
    uint32_t *starts = starts_create(count);
    deal_slots((uint32_t)config_slots(c->config), count, NULL, starts);
    set_deal(c, starts, c->step);
    c->deal.count = count;
}

enum status deal_restore(struct coordinator *c, const struct journal_deal *deal)
{
    uint32_t slots = (uint32_t)config_slots(c->config), sum = 0;
    if (deal->count != c->deal.count || deal->count == 0)
        return fail(ERR_CORRUPT, "journal: slots for %u members, the generation has %u",
                    deal->count, c->deal.count);
    for (uint32_t i = 0; i < deal->count; i++) {
        if (deal->slots[i] > slots - sum)
            return fail(ERR_CORRUPT, "journal: more than %u slots are dealt", slots);
        sum += deal->slots[i];
    }
    if (sum != slots)
        return fail(ERR_CORRUPT, "journal: %u slots of %u are dealt", sum, slots);
    uint32_t *starts = starts_create(deal->count);
    for (uint32_t i = 0; i < deal->count; i++)
        starts[i + 1] = starts[i] + deal->slots[i];
    set_deal(c, starts, deal->step);
    return OK;
}

/* From now on this deal holds for what is not planned yet. Takes over `starts`. */
static void change(struct coordinator *c, uint32_t *starts, uint64_t step)
{
    char text[DEAL_TEXT_BYTES] = "";
    size_t length = 0;
    struct journal_record record = {
        .kind = JOURNAL_DEAL,
        .deal = {.step = step,
                 .count = c->deal.count,
                 .slots = mem_array(c->deal.count, sizeof(*record.deal.slots))},
    };
    for (uint32_t i = 0; i < c->deal.count; i++) {
        record.deal.slots[i] = starts[i + 1] - starts[i];
        if (length < sizeof(text))
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s%u",
                                       i > 0 ? "," : "", record.deal.slots[i]);
    }
    core_journal(c, &record);
    mem_free(record.deal.slots);
    set_deal(c, starts, step);
    actions_event(c->out, "slots_dealt", 0, "generation=%llu step=%llu slots=%s",
                  (unsigned long long)c->generation, (unsigned long long)step, text);
}

/* Each member's time for a slot, by rank; who was never measured counts as the mean of the others.
 * Returns the number of those that were; the caller frees. */
static uint32_t collect_speeds(struct coordinator *c, uint32_t count,
                               struct worker *(*find)(struct roster *roster, int rank),
                               double **ret_slot_us)
{
    uint32_t known = 0;
    double sum = 0.0;
    double *slot_us = mem_array(count, sizeof(*slot_us));
    for (uint32_t rank = 0; rank < count; rank++) {
        slot_us[rank] = find(&c->roster, (int)rank)->slot_us;
        known += slot_us[rank] > 0.0;
        sum += slot_us[rank];
    }
    for (uint32_t rank = 0; rank < count; rank++)
        if (slot_us[rank] <= 0.0)
            slot_us[rank] = known > 0 ? sum / known : 1.0;
    *ret_slot_us = slot_us;
    return known;
}

/* A deal that is worth a change from `present`; NULL = that is good enough. The caller frees. */
static uint32_t *find_better(struct coordinator *c, uint32_t count, const uint32_t *present,
                             struct worker *(*find)(struct roster *roster, int rank))
{
    double *slot_us;
    uint32_t *better = NULL;
    if (collect_speeds(c, count, find, &slot_us) > 0) {
        better = starts_create(count);
        deal_slots((uint32_t)config_slots(c->config), count, slot_us, better);
        double now_us = time_of(count, slot_us, present);
        if (time_of(count, slot_us, better) > (1.0 - DEAL_GAIN) * now_us) {
            mem_free(better);
            better = NULL;
        }
    }
    mem_free(slot_us);
    return better;
}

uint32_t *deal_choose(struct coordinator *c, uint32_t count,
                      struct worker *(*find)(struct roster *roster, int rank))
{
    uint32_t *starts = starts_create(count), *better = NULL;
    deal_slots((uint32_t)config_slots(c->config), count, NULL, starts);
    if (c->config->server.deal_by_speed)
        better = find_better(c, count, starts, find);
    if (better == NULL)
        return starts;
    mem_free(starts);
    return better;
}

void deal_begin(struct coordinator *c, uint32_t count, const uint32_t *starts)
{
    deal_evenly(c, count);
    if (memcmp(starts, c->deal.starts, (count + 1) * sizeof(*starts)) == 0)
        return; /* that is what a generation begins with, unless the journal says otherwise */
    uint32_t *copy = starts_create(count);
    memcpy(copy, starts, (count + 1) * sizeof(*starts));
    change(c, copy, c->step);
}

void deal_learn(struct coordinator *c)
{
    if (c->step < c->deal.step + DEAL_WARM_STEPS)
        return;
    const uint32_t *starts = deal_of(c, c->step);
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        struct worker *worker = roster_find_rank(&c->roster, (int)rank);
        uint32_t slots = starts[rank + 1] - starts[rank];
        int64_t compute_us = c->votes[rank].ready.compute_us;
        if (compute_us <= 0 || slots == 0)
            continue;
        double slot_us = (double)compute_us / slots, known_us = worker->slot_us;
        if (known_us > 0.0)
            slot_us = fmin(fmax(slot_us, known_us / DEAL_LEAP), known_us * DEAL_LEAP);
        worker->slot_us = known_us > 0.0 ? known_us + DEAL_SMOOTH * (slot_us - known_us) : slot_us;
    }
}

void deal_try(struct coordinator *c)
{
    if (!c->config->server.deal_by_speed || c->state != RUN_TRAINING || c->world_size < 2 ||
        c->step < c->deal.step + DEAL_REST_STEPS || c->next.state != NEXT_NONE)
        return;
    uint32_t *better = find_better(c, c->deal.count, c->deal.starts, roster_find_rank);
    c->deal.wishes = better != NULL ? c->deal.wishes + 1 : 0;
    if (c->deal.wishes >= DEAL_PATIENCE)
        change(c, better, c->horizon > c->planned ? c->horizon : c->planned);
    else
        mem_free(better);
}

const uint32_t *deal_of(const struct coordinator *c, uint64_t step)
{
    return step >= c->deal.step ? c->deal.starts : c->deal.starts_before;
}
