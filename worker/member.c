/* member.c - says Hello, forms, computes, votes, obeys. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/member.h"

#include <string.h>

#include "common/mem.h"

enum {
    MEMBER_PLANS_MAX = 65, /* config's plan_ahead_steps is at most 64 */
    MEMBER_EXIT_REFUSED = 1,
    MEMBER_EXIT_ACCIDENT = 70, /* start it again: as WATCHDOG_EXIT */
};

/* A plan that is submitted to the loader and not computed yet. */
struct plan_note {
    uint64_t step;
    int wants_parameter_digest;
};

struct member {
    struct member_setup setup; /* its strings are copies */
    struct member_actions *out;
    enum member_state state;
    int is_connected, is_welcome, is_configured, is_draining;
    char *name;
    uint64_t run, epoch, fingerprint, sequence, ticket;
    uint32_t heartbeat_ms;

    int has_state; /* parameters of `step` */
    uint32_t lineage;
    uint64_t step;
    uint64_t digest; /* of those parameters; 0 = not known */

    uint64_t generation; /* formed or being formed; the newest that was ever heard of */
    int is_formed;       /* it works, as far as known */
    struct message regroup;
    uint64_t formed_digest;

    uint32_t plan_count;
    struct plan_note plans[MEMBER_PLANS_MAX]; /* consecutive steps, the first is the next one */
    int is_prepared; /* the vote on `step` is cast, in prepared_generation */
    uint64_t prepared_generation;
    struct message ready;    /* the vote, to be repeated */
    struct message snapshot; /* SnapshotBegin for a step not reached yet; kind 0 = none */
};

void member_actions_init(struct member_actions *actions)
{
    *actions = (struct member_actions){0};
}

void member_actions_clear(struct member_actions *actions)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        message_done(&actions->items[i].message);
        mem_free(actions->items[i].text);
    }
    actions->count = 0;
}

void member_actions_done(struct member_actions *actions)
{
    member_actions_clear(actions);
    mem_free(actions->items);
    *actions = (struct member_actions){0};
}

static struct member_action *push(struct member *m, enum member_action_kind kind)
{
    struct member_actions *out = m->out;
    if (out->count == out->capacity) {
        out->capacity = out->capacity * 2 + 8;
        out->items = mem_resize(out->items, out->capacity * sizeof(*out->items));
    }
    struct member_action *action = &out->items[out->count++];
    *action = (struct member_action){.kind = kind, .step = m->step};
    return action;
}

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
    mem_free(m);
}

/* header.step and header.lineage of every message of ours say what we hold. */
static void send(struct member *m, const struct message *message, uint64_t generation)
{
    struct message *copy = &push(m, MEMBER_SEND)->message;
    message_copy(message, copy);
    copy->header = (struct message_header){
        .run = m->run,
        .epoch = m->epoch,
        .lineage = m->lineage,
        .generation = generation,
        .step = m->step,
        .worker = m->setup.worker,
        .sequence = ++m->sequence,
    };
}

/* The generation in which what we hold means something: prepared or formed; 0 = none. */
static uint64_t present_generation(const struct member *m)
{
    if (m->is_prepared)
        return m->prepared_generation;
    return m->is_formed ? m->generation : 0;
}

static void say_hello(struct member *m)
{
    m->is_welcome = 0;
    const struct message message = {
        .kind = MESSAGE_HELLO,
        .hello = {.protocol = PROTOCOL_VERSION,
                  .name = m->name,
                  .host = (char *)m->setup.host,
                  .boot = m->setup.boot,
                  .pid = m->setup.pid,
                  .device = (char *)m->setup.device,
                  .version = (char *)m->setup.version,
                  .helper_address = (char *)m->setup.helper_address,
                  .fingerprint = m->fingerprint,
                  .has_state = m->has_state,
                  .digest = m->digest,
                  .is_ready_pending = m->is_prepared},
    };
    send(m, &message, present_generation(m));
}

static void say_formed(struct member *m)
{
    const struct message message = {.kind = MESSAGE_FORMED, .formed = {.digest = m->formed_digest}};
    send(m, &message, m->generation);
}

static void say_broken(struct member *m, uint64_t generation, const char *reason)
{
    const struct message message = {.kind = MESSAGE_BROKEN, .broken = {.reason = (char *)reason}};
    send(m, &message, generation);
}

static void say_leave(struct member *m)
{
    const struct message message = {.kind = MESSAGE_LEAVE, .leave = {.reason = "drain"}};
    send(m, &message, m->generation);
}

static void leave(struct member *m, int exit_code, const char *why)
{
    m->state = MEMBER_STATE_GONE;
    struct member_action *action = push(m, MEMBER_EXIT);
    action->exit_code = exit_code;
    action->text = mem_string(why != NULL ? why : "");
}

/* Ends whatever runs: results of tickets so far mean nothing any more. */
static void abandon(struct member *m)
{
    push(m, MEMBER_ABANDON);
    m->ticket++;
    m->is_formed = 0;
    m->plan_count = 0;
    push(m, MEMBER_FLUSH);
}

/* A copy of the state is wanted for a step; now is the time if it is the present one. */
static void take_snapshot(struct member *m)
{
    if (m->snapshot.kind == 0 || m->snapshot.header.step > m->step)
        return;
    if (m->snapshot.header.step == m->step && m->has_state)
        message_copy(&m->snapshot, &push(m, MEMBER_SNAPSHOT)->message);
    message_done(&m->snapshot);
    m->snapshot = (struct message){0};
}

static void drop_prepared(struct member *m)
{
    m->is_prepared = 0;
    message_done(&m->ready);
    m->ready = (struct message){0};
}

/* The one place where parameters change by a step. */
static void obey(struct member *m, const struct message_verdict *verdict)
{
    struct member_action *action = push(m, verdict->is_commit ? MEMBER_APPLY : MEMBER_SKIP);
    action->lr = verdict->lr;
    drop_prepared(m);
    m->step++;
    m->digest = 0;
    take_snapshot(m);
}

static void compute_next(struct member *m)
{
    if (m->plan_count == 0 || m->plans[0].step != m->step) {
        m->state = MEMBER_STATE_IDLE;
        return;
    }
    struct member_action *action = push(m, MEMBER_COMPUTE);
    action->ticket = ++m->ticket;
    action->wants_parameter_digest = m->plans[0].wants_parameter_digest;
    m->plan_count--;
    memmove(m->plans, m->plans + 1, m->plan_count * sizeof(m->plans[0]));
    m->state = MEMBER_STATE_BUSY;
}

static void handle_welcome(struct member *m, const struct message *message)
{
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
        push(m, MEMBER_CONFIGURE)->text = mem_string(message->welcome.config);
    }
    if (m->is_prepared)
        send(m, &m->ready, m->prepared_generation);
    else if (m->is_formed)
        say_formed(m);
    if (m->is_draining)
        say_leave(m);
}

/* Becomes a member of a newer generation, from the state that the server names. */
static void handle_regroup(struct member *m, const struct message *message)
{
    const struct message_regroup *regroup = &message->regroup;
    if (message->header.generation == m->generation && m->state == MEMBER_STATE_PARKED)
        say_broken(m, m->generation, "it has ended here"); /* the server did not hear it */
    if (message->header.generation <= m->generation)
        return;
    if (!m->is_configured) {
        say_broken(m, message->header.generation, "not welcomed yet");
        return;
    }
    abandon(m);
    m->generation = message->header.generation;
    if (regroup->has_verdict && m->is_prepared && m->step + 1 == message->header.step)
        obey(m, &regroup->verdict);
    drop_prepared(m);
    int is_held =
        m->has_state && m->step == message->header.step && m->lineage == message->header.lineage;
    int is_given = regroup->source != STATE_KEEP &&
                   !(regroup->source == STATE_MEMBER && regroup->source_rank == regroup->rank);
    if (!is_held && !is_given) {
        say_broken(m, m->generation, "does not hold the state of this step");
        m->state = MEMBER_STATE_PARKED;
        return;
    }
    message_done(&m->regroup);
    message_copy(message, &m->regroup);
    struct member_action *action = push(m, MEMBER_FORM);
    action->ticket = ++m->ticket;
    action->step = message->header.step;
    message_copy(message, &action->message);
    if (!is_held)
        m->has_state = 0; /* what we hold is about to be overwritten */
    m->state = MEMBER_STATE_FORMING;
}

static void handle_formed(struct member *m, uint64_t digest)
{
    m->has_state = 1;
    m->step = m->regroup.header.step;
    m->lineage = m->regroup.header.lineage;
    m->is_formed = 1;
    m->formed_digest = m->digest = digest;
    m->state = MEMBER_STATE_IDLE;
    say_formed(m);
    take_snapshot(m);
}

static void handle_plan(struct member *m, const struct message *message)
{
    /* A server that is back plans the step that we have voted on: if the vote came while it was
     * still gathering the members, it was not counted. */
    if (m->is_prepared && message->header.step == m->step &&
        message->header.generation == m->prepared_generation) {
        send(m, &m->ready, m->prepared_generation);
        return;
    }
    int is_under_way = m->state == MEMBER_STATE_BUSY || m->state == MEMBER_STATE_PREPARED;
    uint64_t next = m->step + (uint64_t)is_under_way + m->plan_count;
    if (message->header.generation != m->generation || !m->is_formed ||
        message->header.step != next || m->plan_count == MEMBER_PLANS_MAX)
        return; /* of the past, or known already */
    message_copy(message, &push(m, MEMBER_SUBMIT)->message);
    m->plans[m->plan_count++] = (struct plan_note){next, message->plan.wants_parameter_digest};
    if (m->state == MEMBER_STATE_IDLE)
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
    send(m, &m->ready, m->generation);
}

static void handle_verdict(struct member *m, const struct message *message)
{
    if (!m->is_prepared || message->header.step != m->step ||
        message->header.generation != m->prepared_generation)
        return;
    obey(m, &message->verdict);
    if (m->is_formed)
        compute_next(m);
    else
        m->state = MEMBER_STATE_PARKED;
}

static void handle_job_failed(struct member *m, const char *reason)
{
    uint64_t generation = m->generation;
    abandon(m);
    m->state = MEMBER_STATE_PARKED;
    say_broken(m, generation, reason != NULL ? reason : "failed");
}

static void handle_snapshot_begin(struct member *m, const struct message *message)
{
    if (message->header.lineage != m->lineage)
        return;
    message_done(&m->snapshot);
    message_copy(message, &m->snapshot);
    take_snapshot(m);
}

static void handle_reject(struct member *m, const struct message *message)
{
    if (message->reject.is_final) {
        push(m, MEMBER_ABANDON); /* whatever runs: it may be what hangs */
        leave(m, message->reject.is_accident ? MEMBER_EXIT_ACCIDENT : MEMBER_EXIT_REFUSED,
              message->reject.reason);
    } else if (m->is_connected) {
        say_hello(m);
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
        message_copy(message, &push(m, MEMBER_SHARDS)->message);
        break;
    case MESSAGE_REGROUP:
        handle_regroup(m, message);
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
        push(m, MEMBER_ABANDON);
        const struct message bye = {.kind = MESSAGE_BYE};
        send(m, &bye, m->generation);
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
            say_hello(m); /* the last one, or its answer, was lost with a server that died */
        return;
    }
    const struct message message = {.kind = MESSAGE_HEARTBEAT, .heartbeat = *heartbeat};
    send(m, &message, present_generation(m));
}

static void handle_drain(struct member *m)
{
    if (m->is_draining)
        return;
    m->is_draining = 1;
    if (m->is_welcome)
        say_leave(m);
    else if (!m->has_state)
        leave(m, 0, "nothing to finish");
}

void member_handle(struct member *m, const struct member_event *event, struct member_actions *out)
{
    int is_stale = event->ticket != m->ticket;
    m->out = out;
    if (m->state == MEMBER_STATE_GONE)
        return;
    switch (event->kind) {
    case MEMBER_CONNECTED:
        m->is_connected = 1;
        say_hello(m);
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
        if (!is_stale && m->state == MEMBER_STATE_FORMING)
            handle_formed(m, event->digest);
        break;
    case MEMBER_COMPUTED:
        if (!is_stale && m->state == MEMBER_STATE_BUSY)
            handle_computed(m, event->ready);
        break;
    case MEMBER_JOB_FAILED:
        if (!is_stale && (m->state == MEMBER_STATE_FORMING || m->state == MEMBER_STATE_BUSY))
            handle_job_failed(m, event->reason);
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
