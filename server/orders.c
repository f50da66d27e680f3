/* orders.c - pause, resume, stop, drain, evict, save, remove, retire. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/orders.h"

#include <stdio.h>
#include <string.h>

#include "server/boundary.h"
#include "server/discharge.h"
#include "server/shard_records.h"
#include "server/snapshot_name.h"
#include "server/snapshot_records.h"

enum { BODY_BYTES = 512 };

static enum status set_paused(struct coordinator *c, int is_paused, const char *reason)
{
    if (c->is_paused == is_paused)
        return OK;
    c->is_paused = is_paused;
    struct journal_record record = {.kind = JOURNAL_PAUSE, .pause = {.is_paused = is_paused}};
    core_journal(c, &record);
    actions_event(c->out, is_paused ? "run_paused" : "run_unpaused", 0, "step=%llu reason=\"%s\"",
                  (unsigned long long)c->step, reason);
    c->step_ms = c->now_ms;
    if (is_paused && c->state == RUN_TRAINING)
        core_set_state(c, RUN_PAUSED);
    else if (!is_paused && c->state == RUN_PAUSED)
        core_set_state(c, RUN_TRAINING);
    return OK;
}

/* What a signal orders holds for this process only; what an operator orders until it is done. */
static enum status stop(struct coordinator *c, int is_operator, const char *reason)
{
    if (is_operator && !c->is_stop_ordered) {
        struct journal_record record = {.kind = JOURNAL_STOP, .stop = {.is_stopping = 1}};
        core_journal(c, &record);
        c->is_stop_ordered = 1;
    }
    if (!c->is_stopping)
        actions_event(c->out, "run_stopping", 0, "step=%llu reason=\"%s\"",
                      (unsigned long long)c->step, reason);
    c->is_stopping = 1;
    if (c->state == RUN_PAUSED || c->state == RUN_STARVED)
        boundary_pass(c);
    return OK;
}

static enum status discharge(struct coordinator *c, const char *name, int is_evicted,
                             const char *reason, char body[BODY_BYTES])
{
    uint64_t worker;
    TRY(discharge_order(c, name, is_evicted, reason, &worker));
    snprintf(body, BODY_BYTES, "{\"worker\":\"%016llx\"}", (unsigned long long)worker);
    return OK;
}

/* name: "" = the coordinator's choice. One that is being taken under this name is what is wanted.
 */
static enum status save(struct coordinator *c, const char *name, char body[BODY_BYTES])
{
    int is_begun = name[0] != 0 && c->snapshot.is_pending && strcmp(c->snapshot.name, name) == 0;
    if (name[0] != 0)
        TRY(snapshot_name_check_given(name));
    if (c->state != RUN_TRAINING && c->state != RUN_PAUSED && c->state != RUN_STARVED)
        return fail(ERR_STALE, "the run is %s: ask again when it trains", run_state_name(c->state));
    if (!is_begun)
        TRY(boundary_snapshot(c, name));
    snprintf(body, BODY_BYTES, "{\"name\":\"%s\",\"step\":%llu}", c->snapshot.name,
             (unsigned long long)c->snapshot.step);
    return OK;
}

static void reply(struct coordinator *c, const struct coordinator_event *event, enum status status,
                  char *body)
{
    if (event->connection == 0)
        return;
    struct message message = {
        .kind = MESSAGE_REPLY,
        .reply = {.request = event->command.request, .status = (uint32_t)status, .body = body},
    };
    core_send_to(c, event->connection, 0, &message);
}

void orders_handle(struct coordinator *c, const struct coordinator_event *event)
{
    const char *argument = event->command.argument != NULL ? event->command.argument : "";
    const char *reason = event->reason != NULL ? event->reason : "";
    enum status status = OK;
    char body[BODY_BYTES] = "{}";
    switch (event->command.command) {
    case COMMAND_PAUSE:
    case COMMAND_RESUME:
        status = set_paused(c, event->command.command == COMMAND_PAUSE, reason);
        break;
    case COMMAND_STOP:
        status = stop(c, event->connection != 0, reason);
        break;
    case COMMAND_DRAIN:
    case COMMAND_EVICT:
        status = discharge(c, argument, event->command.command == COMMAND_EVICT, reason, body);
        break;
    case COMMAND_SNAPSHOT:
        status = save(c, argument, body);
        break;
    case COMMAND_REMOVE:
        status =
            snapshot_records_remove(c, argument, reason, event->connection, event->command.request);
        if (status == OK)
            return; /* answered when the file is gone */
        break;
    case COMMAND_RETIRE:
        status = shard_records_retire(c, argument, reason);
        break;
    case COMMAND_POLICY:
        expiry_order(c, event->command.policy, reason);
        break;
    }
    if (status != OK)
        snprintf(body, sizeof(body), "%s", fail_message());
    reply(c, event, status, body);
}
