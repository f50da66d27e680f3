/* formation.c - forms and ends generations. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/formation.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "server/admission.h"
#include "server/agreement.h"
#include "server/blame.h"
#include "server/boundary.h"
#include "server/deal.h"
#include "server/engine.h"
#include "server/recovery.h"
#include "server/rendezvous.h"
#include "server/round.h"
#include "server/snapshot_name.h"
#include "server/snapshot_records.h"
#include "server/succession.h"

int formation_is_candidate(const struct worker *worker)
{
    return worker->connection != 0 && worker->state != WORKER_DRAINING;
}

int formation_is_coming(const struct worker *worker)
{
    return worker->rank < 0 && formation_is_candidate(worker) &&
           (worker->has_state || worker->heartbeat.is_warm);
}

static uint32_t give_rank(const struct coordinator *c, struct worker *worker, uint32_t count)
{
    if (worker->rank >= 0 || count == engine_seats(c))
        return count;
    worker->rank = (int)count;
    return count + 1;
}

/* Gives ranks from `count` on to those who hold the state; returns the new count. */
static uint32_t choose_holders(struct coordinator *c, uint32_t count, int is_draining)
{
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        if (worker->connection != 0 && (worker->state == WORKER_DRAINING) == is_draining &&
            core_is_holder(c, worker))
            count = give_rank(c, worker, count);
    }
    return count;
}

/* To those who do not. */
static uint32_t choose_others(struct coordinator *c, uint32_t count)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (formation_is_coming(&c->roster.workers[i]))
            count = give_rank(c, &c->roster.workers[i], count);
    return count;
}

/* Of the ranks given only those below `count` stand. */
static uint32_t let_go(struct coordinator *c, uint32_t count)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (c->roster.workers[i].rank >= (int)count)
            c->roster.workers[i].rank = -1;
    return count;
}

/* Marks the members by rank >= 0, holders of the state first, never more than there are slots. Who
 * drains stays in only while the others do not hold the state. Who is not warm yet comes later: all
 * would wait for its first step, of which nobody knows how long it takes. Returns their number. */
static uint32_t choose_members(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        c->roster.workers[i].rank = -1;
    uint32_t count = choose_holders(c, 0, 0);
    if (c->step > 0 && !core_is_covered(c, core_is_member)) {
        const uint32_t staying = count;
        count = choose_holders(c, staying, 1);
        if (!core_is_covered(c, core_is_member))
            count = let_go(c, staying);
    }
    return choose_others(c, count);
}

static void forget_members(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        c->roster.workers[i].rank = -1;
}

/* The first workers of a run come within moments of each other: one generation for all of them.
 * Nobody who has trained already waits for that. */
static int is_still_gathering(const struct coordinator *c)
{
    int64_t newest = INT64_MIN, oldest = INT64_MAX;
    int is_one_warming_up = 0;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *worker = &c->roster.workers[i];
        if (worker->rank < 0) {
            is_one_warming_up |= formation_is_candidate(worker) && !formation_is_coming(worker);
            continue;
        }
        if (worker->has_state)
            return 0;
        newest = worker->hello_ms > newest ? worker->hello_ms : newest;
        oldest = worker->hello_ms < oldest ? worker->hello_ms : oldest;
    }
    int is_bunch =
        c->now_ms - newest < CORE_GATHER_MS && c->now_ms - oldest < CORE_GATHER_LONGEST_MS;
    return is_bunch || (is_one_warming_up && c->now_ms - oldest < c->config->server.form_ms);
}

/* State from one of the members, a sharded momentum from several. 0 if they do not hold it. */
static int take_from_member(struct coordinator *c, uint32_t count)
{
    uint32_t holders = 0;
    if (!core_is_covered(c, core_is_member))
        return 0;
    for (uint32_t i = c->roster.count; i-- > 0;) {
        const struct worker *worker = &c->roster.workers[i];
        if (worker->rank < 0 || !core_is_holder(c, worker))
            continue;
        holders++;
        c->group.source_rank = (uint32_t)worker->rank;
    }
    c->group.source = holders == count ? STATE_KEEP : STATE_MEMBER;
    return 1;
}

/* The state of step 0: random, or what the run began with. */
static void take_first(struct coordinator *c)
{
    c->group.source = c->has_initial ? STATE_SNAPSHOT : STATE_INIT;
    if (c->has_initial)
        snprintf(c->group.snapshot, sizeof(c->group.snapshot), "%s", SNAPSHOT_INITIAL);
}

/* State from the newest snapshot. Unless it is of this very step, those who may hold newer state
 * are given time to come back first; then the journal is rolled back. 0 = wait. */
static int take_from_snapshot(struct coordinator *c)
{
    const struct journal_snapshot *newest = snapshot_records_newest(c);
    if (newest == NULL || newest->step != c->step) {
        if (c->lonely_ms < 0)
            c->lonely_ms = c->now_ms;
        if (c->now_ms - c->lonely_ms < 2 * c->config->server.lost_ms)
            return 0;
        if (!recovery_roll_back(c, newest))
            return 0;
    }
    if (newest == NULL) {
        take_first(c);
        return 1;
    }
    c->group.source = STATE_SNAPSHOT;
    memcpy(c->group.snapshot, newest->name, sizeof(c->group.snapshot));
    return 1;
}

static int choose_source(struct coordinator *c, uint32_t count)
{
    c->group.source_rank = 0;
    c->group.snapshot[0] = 0;
    if (c->step == 0) {
        take_first(c);
        return 1;
    }
    return take_from_member(c, count) || take_from_snapshot(c);
}

void formation_start_helpers(struct coordinator *c, uint64_t generation, uint64_t nonce,
                             uint32_t count,
                             struct worker *(*find)(struct roster *roster, int rank))
{
    struct action *action = actions_push(c->out, ACTION_START_HELPERS);
    action->helpers.generation = generation;
    action->helpers.nonce = nonce;
    action->helpers.count = count;
    action->helpers.helpers = mem_array(count, sizeof(struct action_helper));
    for (uint32_t rank = 0; rank < count; rank++) {
        const struct worker *worker = find(&c->roster, (int)rank);
        struct action_helper *helper = &action->helpers.helpers[rank];
        helper->worker = worker->id;
        memcpy(helper->name, worker->name, sizeof(helper->name));
        memcpy(helper->host, worker->host, sizeof(helper->host));
        memcpy(helper->address, worker->helper_address, sizeof(helper->address));
    }
}

static void stop_helpers(struct coordinator *c, uint64_t generation)
{
    actions_push(c->out, ACTION_STOP_HELPERS)->helpers.generation = generation;
}

static void journal_generation(struct coordinator *c)
{
    struct journal_record record = {.kind = JOURNAL_GENERATION};
    record.generation.generation = c->generation;
    record.generation.step = c->step;
    record.generation.member_count = c->world_size;
    record.generation.members = mem_array(c->world_size, sizeof(*record.generation.members));
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        struct worker *worker = roster_find_rank(&c->roster, (int)rank);
        record.generation.members[rank] = (struct journal_member){
            .worker = worker->id, .name = worker->name, .boot = worker->boot, .pid = worker->pid};
        core_note_member(c, rank, &record.generation.members[rank]);
    }
    core_journal(c, &record);
    mem_free(record.generation.members);
}

/* The roster's ranks are those of generation c->generation now. */
static void seat_members(struct coordinator *c, uint32_t count)
{
    c->lonely_ms = -1;
    c->world_size = c->member_count = count;
    c->members = mem_resize(c->members, count * sizeof(*c->members));
    round_prepare(c);
    journal_generation(c);
}

static void tell_members(struct coordinator *c, int is_prepared)
{
    core_set_state(c, RUN_FORMING);
    c->state_ms = c->told_ms = c->now_ms;
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        struct worker *worker = roster_find_rank(&c->roster, (int)rank);
        if (worker->state == WORKER_PARKED)
            worker->state = WORKER_MEMBER;
        worker->is_formed = worker->is_ready = worker->is_broken = 0;
        formation_tell(c, worker);
    }
    actions_event(c->out, "generation_forming", 0,
                  "generation=%llu members=%u step=%llu lineage=%u source=%u prepared=%d",
                  (unsigned long long)c->generation, c->world_size, (unsigned long long)c->step,
                  c->lineage, c->group.source, is_prepared);
}

static void form(struct coordinator *c, uint32_t count)
{
    c->generation = ++c->generations;
    c->group.engine = engine_of(c, count, roster_find_rank);
    c->group.rendezvous.length = 0;
    c->group.nonce = core_nonce(c);
    seat_members(c, count);
    uint32_t *starts = deal_choose(c, count, roster_find_rank);
    deal_begin(c, count, starts);
    mem_free(starts);
    c->group.has_helpers = c->group.engine == ENGINE_MPI;
    if (c->group.has_helpers)
        formation_start_helpers(c, c->generation, c->group.nonce, count, roster_find_rank);
    tell_members(c, 0);
}

static void say_ended(struct coordinator *c, const char *reason)
{
    actions_event(c->out, "generation_ended", 0, "generation=%llu step=%llu reason=\"%s\"",
                  (unsigned long long)c->generation, (unsigned long long)c->step, reason);
}

/* Those who are not in the next generation wait, or drain. */
static void change_seats(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        worker->rank = worker->next_rank;
        if (worker->rank < 0 && worker->state == WORKER_MEMBER)
            worker->state = WORKER_PARKED;
    }
}

int formation_is_whole(const struct coordinator *c)
{
    int has_begun = c->state == RUN_TRAINING || c->state == RUN_PAUSED || c->state == RUN_STARVED ||
                    c->state == RUN_CLOSING;
    return has_begun && c->planned <= c->step;
}

static void note_whole(struct coordinator *c)
{
    if (!formation_is_whole(c))
        return;
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (core_is_member(&c->roster.workers[i]))
            core_note_slices(&c->roster.workers[i], 0, 1);
}

static int is_next(const struct worker *worker)
{
    return worker->next_rank >= 0;
}

int formation_take_over(struct coordinator *c)
{
    const struct core_next *next = &c->next;
    uint64_t old_generation = c->generation;
    int had_helpers = c->group.has_helpers;
    note_whole(c);
    if (!core_is_covered(c, is_next))
        return 0;
    say_ended(c, "members come or go");
    round_clear(c);
    change_seats(c);
    c->generation = next->generation;
    c->group.engine = next->engine;
    c->group.has_helpers = next->engine == ENGINE_MPI;
    c->group.nonce = next->nonce;
    c->group.rendezvous = next->rendezvous;
    c->group.source_rank = 0;
    c->group.snapshot[0] = 0;
    take_from_member(c, next->count);
    seat_members(c, next->count);
    deal_begin(c, next->count, next->starts);
    tell_members(c, 1);
    if (had_helpers) /* after the members know: nobody waits for that */
        stop_helpers(c, old_generation);
    return 1;
}

void formation_try(struct coordinator *c)
{
    if (c->now_ms < c->form_after_ms)
        return;
    uint32_t count = choose_members(c);
    if (count == 0 || is_still_gathering(c)) {
        forget_members(c);
        c->lonely_ms = -1;
        if (count == 0)
            core_set_state(c, RUN_WAITING);
        return;
    }
    if (!choose_source(c, count)) {
        forget_members(c);
        core_set_state(c, RUN_WAITING);
        return;
    }
    form(c, count);
}

void formation_tell(struct coordinator *c, const struct worker *worker)
{
    struct message_member *members = mem_array(c->world_size, sizeof(*members));
    for (uint32_t rank = 0; rank < c->world_size; rank++) {
        struct worker *member = roster_find_rank(&c->roster, (int)rank);
        members[rank].worker = c->members[rank].worker;
        members[rank].name = member != NULL ? member->name : NULL;
    }
    struct message message = {
        .kind = MESSAGE_REGROUP,
        .header = {.generation = c->generation, .step = c->step},
        .regroup =
            {
                .engine = c->group.engine,
                .nonce = c->group.nonce,
                .rank = (uint32_t)worker->rank,
                .member_count = c->world_size,
                .members = members,
                .source = c->group.source,
                .source_rank = c->group.source_rank,
                .snapshot_name = c->group.snapshot,
                .has_verdict = core_awaits_verdict(c, worker),
            },
    };
    if (message.regroup.has_verdict)
        message.regroup.verdict = core_last_verdict(c);
    core_send(c, worker, &message);
    mem_free(members);
    if (worker->rank > 0)
        rendezvous_tell(c, worker, c->generation, c->group.nonce, &c->group.rendezvous);
}

/* All have formed: from equal state? */
static int is_agreed(struct coordinator *c)
{
    struct agreement agreement = {
        .event = "state_differs",
        .of = "state",
        .reason = "members formed with different state",
        .giver = c->group.source == STATE_MEMBER ? (int)c->group.source_rank : AGREEMENT_NO_GIVER,
    };
    for (uint32_t rank = 0; rank < c->world_size; rank++)
        agreement.digests[rank] = roster_find_rank(&c->roster, (int)rank)->formed_digest;
    return agreement_holds(c, &agreement);
}

void formation_formed(struct coordinator *c, struct worker *worker, const struct message *message)
{
    if (core_refuses(c, &message->header) || c->state != RUN_FORMING || worker->rank < 0)
        return;
    worker->is_formed = 1;
    core_note_slices(worker, 0, 1); /* until a step of this generation is begun */
    worker->formed_digest = message->formed.digest;
    worker->has_state = 1;
    worker->lineage = c->lineage;
    worker->step = c->step;
    worker->is_prepared = 0;
    for (uint32_t rank = 0; rank < c->world_size; rank++)
        if (!roster_find_rank(&c->roster, (int)rank)->is_formed)
            return;
    if (!is_agreed(c))
        return;
    c->form_failures = 0;
    actions_event(c->out, "generation_formed", 0, "generation=%llu members=%u step=%llu ms=%lld",
                  (unsigned long long)c->generation, c->world_size, (unsigned long long)c->step,
                  (long long)(c->now_ms - c->state_ms));
    round_begin(c);
    boundary_pass(c);
}

void formation_end(struct coordinator *c, const char *reason, int64_t delay_ms)
{
    if (c->world_size > 0) {
        say_ended(c, reason);
        if (c->planned > c->step)
            c->attempt++;
    }
    if (c->group.has_helpers) /* also when all members were lost one by one */
        stop_helpers(c, c->generation);
    c->group.has_helpers = 0;
    note_whole(c);
    succession_drop(c, reason);
    round_clear(c);
    c->world_size = 0;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        worker->rank = -1;
        worker->is_formed = worker->is_ready = worker->is_broken = 0;
        if (worker->state == WORKER_MEMBER)
            worker->state = WORKER_PARKED;
    }
    core_set_state(c, RUN_BROKEN);
    c->form_after_ms = c->now_ms + delay_ms;
}

void formation_fail(struct coordinator *c, const char *reason)
{
    uint32_t doublings =
        c->form_failures < CORE_BACKOFF_DOUBLINGS ? c->form_failures : CORE_BACKOFF_DOUBLINGS;
    int is_forming = c->state == RUN_FORMING;
    c->form_failures += is_forming ? 1 : 0;
    formation_end(c, reason,
                  is_forming ? (int64_t)CORE_BACKOFF_MS << doublings : (int64_t)CORE_SETTLE_MS);
}

int formation_is_late(const struct coordinator *c)
{
    return c->state == RUN_FORMING && c->now_ms - c->told_ms >= c->config->server.form_ms;
}

/* Has a member waited as long as it may? */
static int is_given_up(const struct coordinator *c)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (c->roster.workers[i].rank >= 0 && c->roster.workers[i].is_broken)
            return 1;
    return 0;
}

/* Who has neither formed nor said that it cannot, and of these got nothing done for longest: the
 * others may only be waiting for it. NULL = nobody. */
static struct worker *find_late(struct coordinator *c)
{
    struct worker *late = NULL;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        struct worker *worker = &c->roster.workers[i];
        if (worker->rank >= 0 && !worker->is_formed && !worker->is_broken &&
            (late == NULL || worker->moved_ms < late->moved_ms))
            late = worker;
    }
    return late;
}

void formation_check_deadline(struct coordinator *c)
{
    int64_t waited_ms = c->now_ms - c->state_ms;
    if (is_given_up(c)) { /* the others' words and heartbeats about it are still under way */
        if (waited_ms > c->config->server.form_ms + 2 * CORE_SILENT_MS)
            blame_forming(c);
        return;
    }
    if (waited_ms <= c->config->server.form_ms + c->config->server.lost_ms)
        return;
    struct worker *late = find_late(c);
    if (late != NULL)
        admission_replace(c, late, "did not form the collective in time; start it again");
    else
        formation_fail(c, "not formed in time");
}
