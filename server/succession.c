/* succession.c - opens, agrees on and drops the next generation. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/succession.h"

#include <stdio.h>

#include "common/mem.h"
#include "server/admission.h"
#include "server/boundary.h"
#include "server/deal.h"
#include "server/engine.h"
#include "server/formation.h"
#include "server/rendezvous.h"
#include "server/round.h"

static void forget_members(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        worker->next_rank = -1;
        worker->is_next_ready = worker->is_next_broken = 0;
    }
}

static void stop_helpers(struct coordinator *c)
{
    if (c->next.engine == ENGINE_MPI)
        actions_push(c->out, ACTION_STOP_HELPERS)->helpers.generation = c->next.generation;
}

/* Nothing is being prepared any more. */
static void clear(struct coordinator *c)
{
    forget_members(c);
    mem_free(c->next.starts);
    c->next.starts = NULL;
    c->next.state = NEXT_NONE;
}

void succession_drop(struct coordinator *c, const char *reason)
{
    if (c->next.state == NEXT_NONE)
        return;
    if (c->next.state != NEXT_DOOMED) {
        stop_helpers(c);
        actions_event(c->out, "preparation_dropped", 0, "generation=%llu step=%llu reason=\"%s\"",
                      (unsigned long long)c->next.generation, (unsigned long long)c->step, reason);
    }
    clear(c);
}

/* It cannot be any more. What was planned to it already is planned anew when the present generation
 * ends, which is at the step that was agreed on: the steps before are not disturbed. */
static void fail_next(struct coordinator *c, const char *name, const char *reason)
{
    struct core_next *next = &c->next;
    uint32_t doublings =
        next->failures < CORE_BACKOFF_DOUBLINGS ? next->failures : CORE_BACKOFF_DOUBLINGS;
    next->failures++;
    next->after_ms = c->now_ms + ((int64_t)CORE_BACKOFF_MS << doublings);
    actions_event(c->out, "preparation_failed", 1,
                  "generation=%llu step=%llu worker=%s reason=\"%s\"",
                  (unsigned long long)next->generation, (unsigned long long)c->step, name, reason);
    stop_helpers(c);
    if (next->state == NEXT_AGREED)
        next->state = NEXT_DOOMED;
    else
        clear(c);
}

/* Does anybody wait to come in, or want to go? Cheap: it is asked at every event. */
static int has_wish(const struct coordinator *c)
{
    uint32_t waiting = 0, leaving = 0;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *worker = &c->roster.workers[i];
        waiting += formation_is_coming(worker);
        leaving += worker->rank >= 0 && worker->state == WORKER_DRAINING;
    }
    int has_room = c->world_size < engine_seats(c);
    return leaving > 0 || (waiting > 0 && has_room);
}

/* Ranks for those who stay, in their present order, then for those who come, never more than there
 * are seats. If all members want to go, one stays until it has given its state to those who come.
 * Returns the number of those who come. */
static uint32_t choose_members(struct coordinator *c, uint32_t *ret_count)
{
    uint32_t count = 0, coming = 0, seats = engine_seats(c);
    forget_members(c);
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        struct worker *worker = roster_find_rank(&c->roster, (int)rank);
        if (worker->state != WORKER_DRAINING)
            worker->next_rank = (int)count++;
    }
    if (count == 0)
        roster_find_rank(&c->roster, 0)->next_rank = (int)count++;
    for (uint32_t i = 0; i < c->roster.count && count < seats; i++) {
        struct worker *worker = &c->roster.workers[i];
        if (!formation_is_coming(worker))
            continue;
        worker->next_rank = (int)count++;
        coming++;
    }
    *ret_count = count;
    return coming;
}

/* Workers come in bunches: one change for all of them. */
static int is_gathering(const struct coordinator *c)
{
    int64_t newest = INT64_MIN, oldest = INT64_MAX;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *worker = &c->roster.workers[i];
        if (worker->rank >= 0 || worker->next_rank < 0)
            continue;
        newest = worker->hello_ms > newest ? worker->hello_ms : newest;
        oldest = worker->hello_ms < oldest ? worker->hello_ms : oldest;
    }
    return c->now_ms - newest < CORE_GATHER_MS && c->now_ms - oldest < CORE_GATHER_LONGEST_MS;
}

static void tell(struct coordinator *c, const struct worker *worker)
{
    struct message_member *members = mem_array(c->next.count, sizeof(*members));
    for (uint32_t rank = 0; rank < c->next.count; rank++) {
        struct worker *member = roster_find_next(&c->roster, (int)rank);
        members[rank] = (struct message_member){.worker = member->id, .name = member->name};
    }
    const struct message message = {
        .kind = MESSAGE_PREPARE,
        .header = {.generation = c->next.generation, .step = c->step},
        .prepare = {.engine = c->next.engine,
                    .nonce = c->next.nonce,
                    .rank = (uint32_t)worker->next_rank,
                    .member_count = c->next.count,
                    .members = members},
    };
    core_send(c, worker, &message);
    mem_free(members);
    if (worker->next_rank > 0)
        rendezvous_tell(c, worker, c->next.generation, c->next.nonce, &c->next.rendezvous);
}

static void open_next(struct coordinator *c, uint32_t count)
{
    struct core_next *next = &c->next;
    next->state = NEXT_PREPARING;
    next->generation = ++c->generations;
    next->nonce = core_nonce(c);
    next->engine = engine_of(c, count, roster_find_next);
    next->rendezvous.length = 0;
    next->count = count;
    next->ready_count = 0;
    next->begin_ms = next->told_ms = c->now_ms;
    if (next->engine == ENGINE_MPI)
        formation_start_helpers(c, next->generation, next->nonce, count, roster_find_next);
    actions_event(c->out, "generation_preparing", 0, "generation=%llu members=%u step=%llu",
                  (unsigned long long)next->generation, count, (unsigned long long)c->step);
    for (uint32_t rank = 0; rank < count; rank++)
        tell(c, roster_find_next(&c->roster, (int)rank));
}

/* A generation that was formed because somebody died commits a step before the next one is
 * prepared: who is started anew must not take the processors from those who recover. */
static int has_settled(const struct coordinator *c)
{
    return c->has_last && c->last.generation == c->generation;
}

static void try_open(struct coordinator *c)
{
    uint32_t count;
    if (c->is_stopping || c->now_ms < c->next.after_ms || !has_settled(c) || !has_wish(c))
        return;
    uint32_t coming = choose_members(c, &count);
    int is_leaving = count - coming < c->world_size;
    if (is_leaving || (coming > 0 && !is_gathering(c)))
        open_next(c, count);
    else
        forget_members(c);
}

/* All are prepared: what is not planned yet is planned to them. */
static void try_agree(struct coordinator *c)
{
    struct core_next *next = &c->next;
    if (next->ready_count < next->count)
        return;
    next->state = NEXT_AGREED;
    next->failures = 0;
    next->step = c->planned;
    next->starts = deal_choose(c, next->count, roster_find_next);
    actions_event(c->out, "generation_prepared", 0, "generation=%llu members=%u step=%llu ms=%lld",
                  (unsigned long long)next->generation, next->count, (unsigned long long)next->step,
                  (long long)(c->now_ms - next->begin_ms));
    round_plan(c);
}

/* Members give up by themselves after form_ms. Who has not even said that holds the others up. */
static void check_deadline(struct coordinator *c)
{
    const struct worker *silent = NULL;
    if (c->now_ms - c->next.begin_ms <= c->config->server.form_ms + c->config->server.lost_ms)
        return;
    for (uint32_t i = c->roster.count; i-- > 0;) {
        struct worker *worker = &c->roster.workers[i];
        if (worker->next_rank < 0 || worker->is_next_ready || worker->is_next_broken)
            continue;
        if (worker->rank < 0) {
            admission_replace(c, worker, "did not prepare the collective in time; start it again");
            return; /* that has ended the preparation */
        }
        silent = worker;
    }
    fail_next(c, silent != NULL ? silent->name : "", "not prepared in time");
}

void succession_advance(struct coordinator *c)
{
    if (c->state != RUN_TRAINING)
        return;
    if (c->next.state == NEXT_NONE)
        try_open(c);
    if (c->next.state == NEXT_PREPARING)
        try_agree(c);
    if (c->next.state == NEXT_PREPARING)
        check_deadline(c);
}

int succession_is_due(const struct coordinator *c)
{
    return (c->next.state == NEXT_AGREED || c->next.state == NEXT_DOOMED) &&
           c->step == c->next.step;
}

void succession_happen(struct coordinator *c)
{
    c->planned = c->step; /* what was planned beyond nobody has begun */
    if (c->next.state == NEXT_AGREED && formation_take_over(c)) {
        clear(c);
        boundary_dismiss_idle(c);
        return;
    }
    formation_end(c, "the next generation was lost", 0);
    boundary_dismiss_idle(c);
    formation_try(c);
}

int succession_has_step(const struct coordinator *c, uint64_t step)
{
    return c->next.state == NEXT_AGREED && step >= c->next.step;
}

void succession_prepared(struct coordinator *c, struct worker *worker,
                         const struct message *message)
{
    if (c->next.state == NEXT_NONE || worker->next_rank < 0 ||
        message->header.generation != c->next.generation ||
        message->prepared.nonce != c->next.nonce) {
        c->stale[message->header.epoch != c->epoch ? STALE_EPOCH : STALE_GENERATION]++;
        return;
    }
    if (c->next.state != NEXT_PREPARING || worker->is_next_ready)
        return;
    worker->is_next_ready = 1;
    c->next.ready_count++;
}

void succession_broken(struct coordinator *c, struct worker *worker, const char *reason)
{
    if (worker->next_rank < 0 || c->next.state == NEXT_DOOMED)
        return;
    worker->is_next_broken = 1;
    /* Who waited until form_ms was held up by another: that one is still to show itself. */
    if (c->next.state == NEXT_AGREED || c->now_ms - c->next.told_ms < c->config->server.form_ms)
        fail_next(c, worker->name, reason);
}

void succession_helpers_failed(struct coordinator *c, const char *reason)
{
    if (c->next.state != NEXT_DOOMED)
        fail_next(c, "", reason);
}

void succession_lose(struct coordinator *c, struct worker *worker)
{
    char text[ROSTER_NAME_BYTES + 16];
    if (worker->next_rank < 0 || worker->rank >= 0)
        return; /* the end of the present generation, if it is a member, ends the next one too */
    snprintf(text, sizeof(text), "lost %s", worker->name);
    if (c->next.state == NEXT_AGREED)
        fail_next(c, worker->name, text);
    else if (c->next.state == NEXT_PREPARING)
        succession_drop(c, text);
}

void succession_resume(struct coordinator *c, struct worker *worker)
{
    if (worker->next_rank < 0)
        return;
    if (c->next.state == NEXT_PREPARING)
        tell(c, worker);
    else if (c->next.state == NEXT_AGREED && worker->rank < 0)
        round_resume(c, worker);
}
