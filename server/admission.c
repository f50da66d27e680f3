/* admission.c - lets workers in and out. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/admission.h"

#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/check.h"
#include "proto/protocol.h"
#include "server/boundary.h"
#include "server/discharge.h"
#include "server/formation.h"
#include "server/recovery.h"
#include "server/round.h"
#include "server/shard_records.h"
#include "server/succession.h"

/* It must not come back. */
static void refuse(struct coordinator *c, uint64_t connection, uint64_t worker, char *reason)
{
    struct message message = {.kind = MESSAGE_REJECT, .reject = {.reason = reason, .is_final = 1}};
    core_send_to(c, connection, worker, &message);
}

static int is_evicted(const struct coordinator *c, uint64_t worker)
{
    const struct journal_discharge *discharge = discharge_find(c, worker);
    return discharge != NULL && discharge->is_evicted;
}

/* Why a worker cannot be let in for as long as it runs; NULL = it can. */
static char *find_objection(const struct coordinator *c, const struct message *message, char *text,
                            size_t bytes)
{
    const struct message_hello *hello = &message->hello;
    const uint32_t protocol = protocol_agree(hello->protocol, hello->protocol_oldest);
    if (protocol == 0)
        snprintf(text, bytes, "server %s speaks protocols %u to %u, worker %s %u: upgrade the %s",
                 protocol_program(), protocol_oldest(), protocol_newest(), hello->version,
                 hello->protocol, hello->protocol < protocol_oldest() ? "worker" : "server first");
    else if (c->config_since > protocol)
        snprintf(text, bytes,
                 "the config has a key of protocol %u, worker %s speaks %u: upgrade it",
                 c->config_since, hello->version, protocol);
    else if (message->header.run != 0 && message->header.run != c->run)
        snprintf(text, bytes, "worker belongs to another run: start it again for this one");
    else if (hello->fingerprint != 0 && hello->fingerprint != c->fingerprint)
        snprintf(text, bytes, "worker has another config: start it again");
    else if (c->state == RUN_FINISHED)
        snprintf(text, bytes, "the run is finished");
    else if (is_evicted(c, message->header.worker))
        snprintf(text, bytes, "evicted by an operator; start it again to let it join");
    else
        return NULL;
    return text;
}

int admission_note_state(struct worker *worker, const struct message *message)
{
    const struct message_header *header = &message->header;
    if (header->sequence <= worker->sequence)
        return 0;
    worker->sequence = header->sequence;
    if (header->step != worker->step || header->lineage != worker->lineage)
        worker->is_prepared = 0;
    worker->step = header->step;
    worker->lineage = header->lineage;
    if (message->kind == MESSAGE_READY) {
        worker->is_prepared = 1;
        worker->prepared_generation = header->generation;
    } else if (message->kind == MESSAGE_FORMED) {
        worker->has_state = 1; /* even if its generation is over by now */
    } else if (message->kind == MESSAGE_HELLO) {
        worker->has_state = message->hello.has_state;
        worker->is_prepared = message->hello.is_ready_pending;
        worker->prepared_generation = header->generation;
        core_note_slices(worker, message->hello.slice_rank, message->hello.slice_count);
    }
    return 1;
}

void admission_ask_hello(struct coordinator *c, uint64_t connection, uint64_t worker)
{
    struct message message = {.kind = MESSAGE_REJECT,
                              .reject = {.reason = "unknown here: say hello"}};
    core_send_to(c, connection, worker, &message);
}

/* What a worker of an older protocol can read. */
static void print_older(const struct coordinator *c, uint32_t protocol, struct buf *out)
{
    buf_init(out, MESSAGE_TEXT_MAX);
    CHECK(config_print_for(c->config, protocol, out) == OK && buf_append(out, "", 1) == OK);
}

/* What a newcomer will compute if it alone joins the generation and all are equally fast. */
static uint32_t newcomer_slots(const struct coordinator *c)
{
    const uint32_t slots = (uint32_t)config_slots(c->config), members = c->world_size + 1;
    return c->world_size == 0 ? 0 : (slots + members - 1) / members;
}

static void welcome(struct coordinator *c, const struct worker *worker)
{
    struct buf older = {0};
    if (worker->protocol != protocol_newest())
        print_older(c, worker->protocol, &older);
    struct message message = {
        .kind = MESSAGE_WELCOME,
        .header = {.generation = c->generation, .step = c->step},
        .welcome =
            {
                .name = (char *)worker->name,
                .config = older.bytes != NULL ? (char *)older.bytes : c->config_text,
                .heartbeat_ms = (uint32_t)c->config->server.heartbeat_ms,
                .lost_ms = (uint32_t)c->config->server.lost_ms,
                .protocol = worker->protocol,
                .slots = newcomer_slots(c),
            },
    };
    core_send(c, worker, &message);
    buf_done(&older);
    shard_records_send(c, worker, 0);
}

static void watch(struct coordinator *c, struct worker *worker)
{
    if (worker->is_watched || worker->boot != c->boot || worker->pid == 0)
        return;
    struct action *action = actions_push(c->out, ACTION_WATCH);
    action->watch.worker = worker->id;
    action->watch.pid = worker->pid;
    worker->is_watched = 1;
}

static void dismiss(struct coordinator *c, const struct worker *worker, const char *reason)
{
    char text[160];
    snprintf(text, sizeof(text), "%s", reason);
    struct message message = {
        .kind = MESSAGE_DISMISS,
        .header = {.generation = c->generation, .step = c->step},
        .dismiss = {.reason = text},
    };
    core_send(c, worker, &message);
}

/* A member of the present generation is back on a new connection: is it still in it? */
static void readmit(struct coordinator *c, struct worker *worker, uint64_t generation)
{
    int is_same = generation == c->generation;
    if (c->state == RUN_FORMING) {
        if (!worker->is_formed && !is_same)
            formation_tell(c, worker);
        else if (!is_same)
            formation_fail(c, "a member lost its place");
        return;
    }
    if (is_same && core_is_holder(c, worker))
        round_resume(c, worker);
    else
        formation_end(c, "a member lost its place", 0);
}

void admission_hello(struct coordinator *c, uint64_t connection, const struct message *message)
{
    char text[160];
    uint64_t id = message->header.worker;
    struct worker *worker = roster_find(&c->roster, id);
    if (worker != NULL && c->state == RUN_FINISHED) {
        worker->connection = connection;
        dismiss(c, worker, "the run is finished"); /* the first one went astray */
        return;
    }
    char *objection = find_objection(c, message, text, sizeof(text));
    if (objection != NULL) {
        c->stale[STALE_RUN] += message->header.run != 0 && message->header.run != c->run;
        refuse(c, connection, id, objection);
        return;
    }
    int is_new = worker == NULL;
    if (is_new)
        worker = roster_add(&c->roster, id, &message->hello);
    if (worker == NULL) {
        refuse(c, connection, id, "the roster is full: drain a worker first");
        return;
    }
    if (!admission_note_state(worker, message)) {
        c->stale[STALE_ORDER]++; /* an old Hello that was long under way */
        return;
    }
    worker->connection = connection;
    worker->protocol = protocol_agree(message->hello.protocol, message->hello.protocol_oldest);
    if (is_new || c->now_ms - worker->heard_ms > CORE_SILENT_MS)
        worker->moved_ms = c->now_ms; /* a new connection alone is no work done */
    roster_hear(worker, c->now_ms);
    if (is_new) {
        worker->hello_ms = c->now_ms;
        actions_event(c->out, "worker_joined", 0,
                      "worker=%s host=%s pid=%u device=%s version=%s protocol=%u", worker->name,
                      worker->host, worker->pid, worker->device, worker->version, worker->protocol);
        if (discharge_find(c, id) != NULL)
            worker->state = WORKER_DRAINING; /* said to a server that has died since */
    }
    welcome(c, worker);
    watch(c, worker);
    if (c->state == RUN_RECOVERING) {
        recovery_hear(c, worker, &message->hello);
        recovery_note_hello(c, worker, message->header.generation);
    } else if (worker->rank >= 0 && c->state != RUN_CLOSING)
        readmit(c, worker, message->header.generation);
    succession_resume(c, worker);
}

void admission_forget(struct coordinator *c, struct worker *worker)
{
    if (worker->is_watched)
        actions_push(c->out, ACTION_UNWATCH)->watch.worker = worker->id;
    succession_lose(c, worker);
    shard_records_forget_worker(c, worker->id);
    roster_remove(&c->roster, worker);
}

void admission_lose(struct coordinator *c, struct worker *worker, const char *reason)
{
    int was_member = worker->rank >= 0;
    uint64_t id = worker->id;
    char text[ROSTER_NAME_BYTES + 16];
    snprintf(text, sizeof(text), "lost %s", worker->name);
    actions_event(c->out, "worker_lost", 1,
                  "worker=%s step=%llu generation=%llu phase=%s heartbeat_age_ms=%lld "
                  "reason=\"%s\"",
                  worker->name, (unsigned long long)worker->step, (unsigned long long)c->generation,
                  phase_name(worker->heartbeat.phase), (long long)(c->now_ms - worker->heard_ms),
                  reason);
    admission_forget(c, worker);
    if (was_member && c->state != RUN_CLOSING && c->state != RUN_RECOVERING)
        formation_end(c, text, 0);
    else if (c->state == RUN_BROKEN)
        c->form_after_ms = c->now_ms; /* now it is known why the collective broke */
    if (c->state == RUN_RECOVERING)
        recovery_note_loss(c, id);
    boundary_lost_pusher(c, id);
}

static void send_away(struct coordinator *c, struct worker *worker, const char *reason,
                      int is_accident)
{
    char text[160];
    snprintf(text, sizeof(text), "%s", reason);
    struct message message = {
        .kind = MESSAGE_REJECT,
        .reject = {.reason = text, .is_final = 1, .is_accident = is_accident}};
    core_send(c, worker, &message);
    admission_lose(c, worker, reason);
}

void admission_send_away(struct coordinator *c, struct worker *worker, const char *reason)
{
    send_away(c, worker, reason, 0);
}

void admission_replace(struct coordinator *c, struct worker *worker, const char *reason)
{
    send_away(c, worker, reason, 1);
}

void admission_say_goodbye(struct coordinator *c, struct worker *worker, const char *reason)
{
    dismiss(c, worker, reason);
    actions_event(c->out, "worker_left", 0, "worker=%s step=%llu reason=\"%s\"", worker->name,
                  (unsigned long long)c->step, reason);
}

void admission_dismiss(struct coordinator *c, struct worker *worker, const char *reason)
{
    admission_say_goodbye(c, worker, reason);
    admission_forget(c, worker);
}

void admission_drain(struct coordinator *c, struct worker *worker)
{
    if (worker->state == WORKER_DRAINING)
        return;
    worker->state = WORKER_DRAINING;
    actions_event(c->out, "worker_draining", 0, "worker=%s", worker->name);
    if (c->state == RUN_PAUSED || c->state == RUN_STARVED)
        boundary_pass(c);
}

void admission_note_deviation(struct worker *worker)
{
    worker->has_state = 0;
    worker->is_prepared = 0;
    worker->deviations++;
}

int admission_is_deviant(const struct worker *worker)
{
    return worker->deviations >= CORE_DEVIATIONS_MAX;
}

void admission_expel_deviants(struct coordinator *c)
{
    for (uint32_t i = c->roster.count; i-- > 0;)
        if (admission_is_deviant(&c->roster.workers[i]))
            admission_send_away(c, &c->roster.workers[i],
                                "its results differ from the others': check its hardware");
}
