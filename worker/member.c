/* member.c - says Hello, computes, votes, obeys. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/member.h"

#include <string.h>

#include "common/mem.h"
#include "worker/member_core.h"
#include "worker/member_group.h"

enum {
    MEMBER_EXIT_REFUSED = 1,
    MEMBER_EXIT_ACCIDENT = 70, /* start it again: as WATCHDOG_EXIT */
};

struct member *member_create(const struct member_setup *setup)
{
    struct member *m = mem_zero(sizeof(*m));
    m->setup = *setup;
    m->setup.name = mem_string(setup->name);
    m->setup.host = mem_string(setup->host);
    m->setup.device = mem_string(setup->device);
    m->setup.version = mem_string(setup->version);
    m->setup.helper_address = mem_string(setup->helper_address);
    m->name = mem_string(setup->name);
    return m;
}

void member_destroy(struct member *m)
{
    if (m == NULL)
        return;
    mem_free((char *)m->setup.name);
    mem_free((char *)m->setup.host);
    mem_free((char *)m->setup.device);
    mem_free((char *)m->setup.version);
    mem_free((char *)m->setup.helper_address);
    mem_free(m->name);
    message_done(&m->regroup);
    message_done(&m->ready);
    message_done(&m->snapshot);
    mem_free(m->proof.record);
    mem_free(m);
}

static void leave(struct member *m, int exit_code, const char *why)
{
    m->state = MEMBER_STATE_GONE;
    struct member_action *action = member_push(m, MEMBER_EXIT);
    action->exit_code = exit_code;
    action->text = mem_string(why != NULL ? why : "");
}

static void compute_next(struct member *m)
{
    if (m->plan_count == 0 || m->plans[0].step != m->step ||
        m->plans[0].generation != m->generation) {
        m->state = MEMBER_STATE_IDLE;
        return;
    }
    struct member_action *action = member_push(m, MEMBER_COMPUTE);
    action->ticket = ++m->ticket;
    action->wants_parameter_digest = m->plans[0].wants_parameter_digest;
    m->is_whole = 0;
    m->plan_count--;
    memmove(m->plans, m->plans + 1, m->plan_count * sizeof(m->plans[0]));
    m->state = MEMBER_STATE_BUSY;
}

static void handle_welcome(struct member *m, const struct message *message)
{
    if (message->header.epoch != m->epoch)
        member_group_drop_next(m); /* the server that wanted it is dead, and its helpers are */
    m->run = message->header.run;
    m->epoch = message->header.epoch;
    m->is_welcome = 1;
    m->heartbeat_ms = message->welcome.heartbeat_ms;
    mem_free(m->name);
    m->name = mem_string(message->welcome.name);
    if (m->state == MEMBER_STATE_ALONE)
        m->state = MEMBER_STATE_PARKED;
    if (!m->is_configured) {
        m->is_configured = 1;
        struct member_action *action = member_push(m, MEMBER_CONFIGURE);
        action->text = mem_string(message->welcome.config);
        action->slots = message->welcome.slots;
    }
    if (m->is_prepared)
        member_send(m, &m->ready, m->prepared_generation);
    else if (m->is_formed)
        member_say_formed(m);
    if (m->is_draining)
        member_say_leave(m);
}

/* Is this the next plan to come, in a generation that we are in or shall be in? A member of the
 * next one that holds no state yet takes the steps as they come. */
static int is_wanted(const struct member *m, const struct message *message)
{
    const struct message_header *header = &message->header;
    int is_present = m->is_formed && header->generation == m->generation;
    int is_next = m->next.is_formed && header->generation == m->next.generation;
    int is_under_way = m->state == MEMBER_STATE_BUSY || m->state == MEMBER_STATE_PREPARED;
    if ((!is_present && !is_next) || m->plan_count == MEMBER_PLANS_MAX)
        return 0;
    if (m->plan_count > 0)
        return header->step == m->plans[m->plan_count - 1].step + 1;
    return !m->is_formed || header->step == m->step + (uint64_t)is_under_way;
}

static void handle_plan(struct member *m, const struct message *message)
{
    /* A server that is back plans the step that we have voted on: if the vote came while it was
     * still gathering the members, it was not counted. */
    if (m->is_prepared && message->header.step == m->step &&
        message->header.generation == m->prepared_generation) {
        member_send(m, &m->ready, m->prepared_generation);
        return;
    }
    if (is_wanted(m, message)) {
        message_copy(message, &member_push(m, MEMBER_SUBMIT)->message);
        m->plans[m->plan_count++] = (struct plan_note){
            .step = message->header.step,
            .generation = message->header.generation,
            .wants_parameter_digest = message->plan.wants_parameter_digest,
        };
    }
    /* After a regrouping the plan, new or known already, is the word to go on. */
    if (m->is_formed && message->header.generation == m->generation &&
        m->state == MEMBER_STATE_IDLE)
        compute_next(m);
}

static void handle_computed(struct member *m, const struct message_ready *ready)
{
    m->is_prepared = 1;
    m->prepared_generation = m->generation;
    m->state = MEMBER_STATE_PREPARED;
    const struct message message = {.kind = MESSAGE_READY, .ready = *ready};
    message_done(&m->ready);
    message_copy(&message, &m->ready);
    member_send(m, &m->ready, m->generation);
}

static void handle_verdict(struct member *m, const struct message *message)
{
    if (!m->is_prepared || message->header.step != m->step ||
        message->header.generation != m->prepared_generation)
        return;
    member_obey(m, &message->verdict);
    if (m->is_formed)
        compute_next(m);
    else
        m->state = MEMBER_STATE_PARKED;
}

static void handle_snapshot_begin(struct member *m, const struct message *message)
{
    if (message->header.lineage != m->lineage)
        return;
    message_done(&m->snapshot);
    message_copy(message, &m->snapshot);
    member_take_snapshot(m);
}

/* It says what is needed and what is not; an older one that comes late says it wrongly. */
static void handle_shards(struct member *m, const struct message *message)
{
    const struct message_header *header = &message->header;
    if (!m->is_configured ||
        (header->epoch == m->shards_epoch && header->sequence < m->shards_sequence))
        return;
    m->shards_epoch = header->epoch;
    m->shards_sequence = header->sequence;
    message_copy(message, &member_push(m, MEMBER_SHARDS)->message);
}

static void handle_reject(struct member *m, const struct message *message)
{
    if (message->reject.is_final) {
        member_push(m, MEMBER_ABANDON); /* whatever runs: it may be what hangs */
        leave(m, message->reject.is_accident ? MEMBER_EXIT_ACCIDENT : MEMBER_EXIT_REFUSED,
              message->reject.reason);
    } else if (m->is_connected) {
        member_say_hello(m);
    }
}

static void handle_message(struct member *m, const struct message *message)
{
    if (message->header.worker != m->setup.worker || message->header.epoch < m->epoch)
        return; /* for a process of the past, or from one */
    switch (message->kind) {
    case MESSAGE_WELCOME:
        handle_welcome(m, message);
        break;
    case MESSAGE_REJECT:
        handle_reject(m, message);
        break;
    case MESSAGE_SHARDS:
        handle_shards(m, message);
        break;
    case MESSAGE_REGROUP:
        member_group_regroup(m, message);
        break;
    case MESSAGE_PREPARE:
        member_group_prepare(m, message);
        break;
    case MESSAGE_PLAN:
        handle_plan(m, message);
        break;
    case MESSAGE_VERDICT:
        handle_verdict(m, message);
        break;
    case MESSAGE_SNAPSHOT_BEGIN:
        handle_snapshot_begin(m, message);
        break;
    case MESSAGE_DISMISS:
        member_push(m, MEMBER_ABANDON);
        const struct message bye = {.kind = MESSAGE_BYE};
        member_send(m, &bye, m->generation);
        leave(m, 0, message->dismiss.reason);
        break;
    default:
        break; /* not for a worker, or for the shell */
    }
}

static void handle_tick(struct member *m, const struct message_heartbeat *heartbeat)
{
    if (!m->is_welcome) {
        if (m->is_connected)
            member_say_hello(m); /* the last one, or its answer, was lost with a server that died */
        return;
    }
    const struct slice_holding holding = member_holding(m);
    struct message message = {.kind = MESSAGE_HEARTBEAT, .heartbeat = *heartbeat};
    message.heartbeat.slice_rank = holding.rank;
    message.heartbeat.slice_count = holding.count;
    member_send(m, &message, member_present_generation(m));
}

/* If the server cannot hear it, it is told again after the next Welcome, when shards are. */
static void handle_unreadable(struct member *m, const struct message_shard_unreadable *unreadable)
{
    const struct message message = {.kind = MESSAGE_SHARD_UNREADABLE,
                                    .shard_unreadable = *unreadable};
    if (m->is_welcome)
        member_send(m, &message, member_present_generation(m));
}

static void handle_drain(struct member *m)
{
    if (m->is_draining)
        return;
    m->is_draining = 1;
    if (m->is_welcome)
        member_say_leave(m);
    else if (!m->has_state)
        leave(m, 0, "nothing to finish");
}

/* A job came to its end, one way or the other; unless it is one of the past. */
static void handle_report(struct member *m, const struct member_event *event)
{
    int is_busy = m->state == MEMBER_STATE_BUSY, is_forming = m->state == MEMBER_STATE_FORMING;
    if (event->kind == MEMBER_PREPARED)
        member_group_prepared(m, event->ticket);
    else if (event->kind == MEMBER_PREPARE_FAILED)
        member_group_not_prepared(m, event->ticket, event->reason);
    else if (event->ticket != m->ticket)
        return;
    else if (event->kind == MEMBER_FORMED && is_forming)
        member_group_formed(m, event->digest);
    else if (event->kind == MEMBER_COMPUTED && is_busy)
        handle_computed(m, event->ready);
    else if (event->kind == MEMBER_JOB_FAILED && (is_forming || is_busy))
        member_group_failed(m, event->reason);
}

void member_handle(struct member *m, const struct member_event *event, struct member_actions *out)
{
    m->out = out;
    if (m->state == MEMBER_STATE_GONE)
        return;
    switch (event->kind) {
    case MEMBER_CONNECTED:
        m->is_connected = 1;
        member_say_hello(m);
        break;
    case MEMBER_DISCONNECTED:
        m->is_connected = m->is_welcome = 0;
        break;
    case MEMBER_MESSAGE:
        handle_message(m, event->message);
        break;
    case MEMBER_CONFIGURED:
        m->fingerprint = event->fingerprint;
        break;
    case MEMBER_FORMED:
    case MEMBER_COMPUTED:
    case MEMBER_JOB_FAILED:
    case MEMBER_PREPARED:
    case MEMBER_PREPARE_FAILED:
        handle_report(m, event);
        break;
    case MEMBER_UNREADABLE:
        handle_unreadable(m, event->unreadable);
        break;
    case MEMBER_DRAIN:
        handle_drain(m);
        break;
    case MEMBER_TICK:
        handle_tick(m, event->heartbeat);
        break;
    }
}

void member_view(const struct member *m, struct member_view *ret_view)
{
    *ret_view = (struct member_view){
        .state = m->state,
        .step = m->step,
        .generation = m->generation,
        .lineage = m->lineage,
        .has_state = m->has_state,
        .slices = member_holding(m),
        .name = m->name,
        .heartbeat_ms = m->heartbeat_ms,
    };
}

const char *member_state_name(enum member_state state)
{
    static const char *const names[] = {
        [MEMBER_STATE_ALONE] = "alone",     [MEMBER_STATE_PARKED] = "parked",
        [MEMBER_STATE_FORMING] = "forming", [MEMBER_STATE_IDLE] = "idle",
        [MEMBER_STATE_BUSY] = "busy",       [MEMBER_STATE_PREPARED] = "prepared",
        [MEMBER_STATE_GONE] = "gone",
    };
    return names[state];
}
