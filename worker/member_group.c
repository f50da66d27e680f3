/* member_group.c - the generations of a member. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/member_group.h"

#include "common/mem.h"

static void flush(struct member *m, uint64_t step)
{
    member_push(m, MEMBER_FLUSH)->step = step;
}

/* Ends whatever runs or waits: results of tickets so far mean nothing any more. */
static void abandon(struct member *m)
{
    member_push(m, MEMBER_ABANDON);
    m->ticket++;
    m->is_formed = 0;
    m->plan_count = 0;
    m->next = (struct member_next){0};
    flush(m, 0);
}

void member_group_drop_next(struct member *m)
{
    uint32_t kept = 0;
    while (kept < m->plan_count && m->plans[kept].generation != m->next.generation)
        kept++;
    if (kept < m->plan_count)
        flush(m, m->plans[kept].step);
    m->plan_count = kept;
    m->next = (struct member_next){0};
}

void member_group_prepare(struct member *m, const struct message *message)
{
    uint64_t generation = message->header.generation;
    struct member_next *next = &m->next;
    if (generation <= m->generation || generation < next->generation)
        return;
    if (generation == next->generation && message->prepare.nonce == next->nonce) {
        if (next->is_formed)
            member_say_prepared(m); /* the server did not hear it */
        return;
    }
    /* Two collectives cannot be formed at once: helpers of both would call at one address. */
    if (!m->is_configured || m->state == MEMBER_STATE_FORMING) {
        member_say_broken(m, generation, "not ready to prepare a generation");
        return;
    }
    member_group_drop_next(m);
    *next = (struct member_next){
        .generation = generation, .nonce = message->prepare.nonce, .ticket = ++m->next_tickets};
    struct member_action *action = member_push(m, MEMBER_PREPARE);
    action->ticket = next->ticket;
    message_copy(message, &action->message);
}

static int is_of_next(const struct member *m, uint64_t ticket)
{
    return m->next.generation != 0 && !m->next.is_formed && ticket == m->next.ticket;
}

void member_group_prepared(struct member *m, uint64_t ticket)
{
    if (!is_of_next(m, ticket))
        return;
    m->next.is_formed = 1;
    member_say_prepared(m);
}

void member_group_not_prepared(struct member *m, uint64_t ticket, const char *reason)
{
    if (!is_of_next(m, ticket))
        return;
    member_say_broken(m, m->next.generation, reason != NULL ? reason : "failed");
    member_group_drop_next(m);
}

/* Has this generation been prepared, and has the present one nothing left to do? */
static int takes_over(const struct member *m, const struct message *message, int has_verdict)
{
    return m->next.is_formed && message->header.generation == m->next.generation &&
           message->regroup.nonce == m->next.nonce && m->state != MEMBER_STATE_BUSY &&
           m->state != MEMBER_STATE_FORMING && (has_verdict || !m->is_prepared) &&
           (m->plan_count == 0 || m->plans[0].generation == m->next.generation);
}

/* What was prepared becomes the present; nothing that runs or is decoded is lost. */
static void take_over(struct member *m)
{
    m->ticket++;
    m->is_formed = 0;
    m->next = (struct member_next){0};
}

static void order_form(struct member *m, const struct message *message, int is_prepared,
                       int is_held)
{
    message_done(&m->regroup);
    message_copy(message, &m->regroup);
    struct member_action *action = member_push(m, MEMBER_FORM);
    action->ticket = ++m->ticket;
    action->step = message->header.step;
    action->takes_over = is_prepared;
    action->holds_state = is_held;
    message_copy(message, &action->message);
    m->state = MEMBER_STATE_FORMING;
}

/* Is it about a generation to come? If not, or if we cannot follow, says what has to be said. */
static int can_follow(struct member *m, uint64_t generation)
{
    if (generation > m->generation && m->is_configured)
        return 1;
    if (generation > m->generation)
        member_say_broken(m, generation, "not welcomed yet");
    else if (generation == m->generation && m->state == MEMBER_STATE_PARKED)
        member_say_broken(m, generation, "it has ended here"); /* the server did not hear it */
    return 0;
}

/* Leaves the present generation for this one, with the verdict that it brings, if any. Has it been
 * prepared, so that what was planned for it holds? */
static int enter(struct member *m, const struct message *message)
{
    const struct message_regroup *regroup = &message->regroup;
    int has_verdict = regroup->has_verdict && m->is_prepared && m->step + 1 == message->header.step;
    int is_prepared = takes_over(m, message, has_verdict);
    if (is_prepared)
        take_over(m);
    else
        abandon(m);
    m->generation = message->header.generation;
    if (has_verdict)
        member_obey(m, &regroup->verdict);
    member_drop_vote(m);
    return is_prepared;
}

static int holds_state(const struct member *m, const struct message_header *header)
{
    return m->has_state && m->step == header->step && m->lineage == header->lineage;
}

/* Does this member get the state from elsewhere? */
static int is_given(const struct message_regroup *regroup)
{
    if (regroup->source == STATE_MEMBER)
        return regroup->source_rank != regroup->rank;
    return regroup->source != STATE_KEEP;
}

void member_group_regroup(struct member *m, const struct message *message)
{
    if (!can_follow(m, message->header.generation))
        return;
    int is_prepared = enter(m, message);
    int is_held = holds_state(m, &message->header); /* now that the verdict was obeyed */
    if (!is_held && !is_given(&message->regroup)) {
        if (is_prepared)
            abandon(m);
        member_say_broken(m, m->generation, "does not hold the state of this step");
        m->state = MEMBER_STATE_PARKED;
        return;
    }
    if (!is_held)
        m->has_state = 0; /* what we hold is about to be overwritten */
    order_form(m, message, is_prepared, is_held);
}

void member_group_formed(struct member *m, uint64_t digest)
{
    m->has_state = 1;
    m->step = m->regroup.header.step;
    m->lineage = m->regroup.header.lineage;
    m->is_formed = 1;
    m->slices = (struct slice_holding){m->regroup.regroup.rank, m->regroup.regroup.member_count};
    m->is_whole = 1;
    m->formed_digest = m->digest = digest;
    m->state = MEMBER_STATE_IDLE;
    if (m->plan_count > 0 && m->plans[0].step != m->step) {
        flush(m, 0); /* some went astray: the server plans them again */
        m->plan_count = 0;
    }
    member_say_formed(m);
    member_take_snapshot(m);
}

void member_group_failed(struct member *m, const char *reason)
{
    uint64_t next = m->next.generation;
    reason = reason != NULL ? reason : "failed";
    abandon(m);
    m->state = MEMBER_STATE_PARKED;
    member_say_broken(m, m->generation, reason);
    if (next != 0)
        member_say_broken(m, next, reason); /* it fell with the other, which may be an old one */
}
