/* perform.c - carries out what the coordinator wants done. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/perform.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/log.h"
#include "server/connection.h"
#include "server/report.h"

/* As long as members take to hear a verdict: what works for the disk, for viewers and for later
 * steps meanwhile takes the cores from it, and made a third of what the gate cost. */
enum { LATE_US = 1000 };

static void perform_send(struct server *server, const struct action *action)
{
    struct peer peer = connection_peer(action->send.connection);
    enum status status = endpoint_send(server->control, &peer, &action->send.message);
    if (status == OK)
        return;
    int is_gone = status == ERR_UNREACHABLE;
    log_line(is_gone ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR,
             "event=send_failed message=%s worker=%016" PRIx64 " reason=\"%s\"",
             message_kind_name(action->send.message.kind), action->send.message.header.worker,
             fail_message());
    if (is_gone)
        server_add_trouble(server, &(struct trouble){.kind = COORDINATOR_CONNECTION_LOST,
                                                     .number = action->send.connection});
}

static void perform_start_helpers(struct server *server, const struct action *action)
{
    struct helpers *free = &server->helpers[server->helpers[0].pid == 0 ? 0 : 1];
    if (helpers_start(free, action) == OK)
        return;
    struct trouble trouble = {.kind = COORDINATOR_HELPERS_FAILED,
                              .number = action->helpers.generation};
    snprintf(trouble.reason, sizeof(trouble.reason), "%s", fail_message());
    log_error("event=helpers_failed generation=%" PRIu64 " reason=\"%s\"",
              action->helpers.generation, fail_message());
    server_add_trouble(server, &trouble);
}

static void perform_watch(struct server *server, const struct action *action)
{
    enum status status = process_watch_add(&server->watch, action->watch.worker, action->watch.pid);
    if (status == ERR_END)
        server_add_trouble(server, &(struct trouble){.kind = COORDINATOR_PROCESS_DIED,
                                                     .number = action->watch.worker,
                                                     .reason = "its process is gone"});
    else if (status != OK) /* heartbeats tell too, only later */
        log_warn("event=watch_failed pid=%u reason=\"%s\"", action->watch.pid, fail_message());
}

/* Nothing more may happen, whatever the reason. */
static void end(struct server *server, enum status status)
{
    server->status = status;
    snprintf(server->words, sizeof(server->words), "%s", fail_message());
}

static void check_journal(struct server *server, enum status status, const char *what)
{
    if (status == OK)
        return;
    log_error("event=journal_failed record=%s reason=\"%s\"", what, fail_message());
    end(server, status);
}

static void perform_journal(struct server *server, const struct action *action)
{
    const struct journal_record *record = &action->record;
    check_journal(server,
                  journal_record_may_lag(record) ? journal_write(server->journal, record)
                                                 : journal_append(server->journal, record),
                  journal_kind_name(record->kind));
}

static void note_step(struct server *server, const struct action *action)
{
    server->late.is_due = 1;
    server->late.due_us = clock_us() + LATE_US;
    server->late.step = action->step;
    server->late.step.skips = NULL; /* the action's own */
    server->late.step.skip_count = 0;
}

static int is_message(const struct action *action, enum message_kind kind)
{
    return action->kind == ACTION_SEND && action->send.message.kind == kind;
}

/* The plan of a step that begins after the one whose verdict is on its way now. */
static int may_be_late(const struct server *server, const struct action *action)
{
    return server->late.is_due && is_message(action, MESSAGE_PLAN) &&
           action->send.message.header.step > server->late.step.step + 1;
}

static void send_late_plans(struct server *server)
{
    for (uint32_t i = 0; i < server->late.plans.count; i++)
        perform_send(server, &server->late.plans.items[i]);
    actions_clear(&server->late.plans);
}

static int waits_for_flushes(const struct action *action)
{
    return action->kind != ACTION_SEND && action->kind != ACTION_EVENT &&
           action->kind != ACTION_STEP && action->kind != ACTION_NONE;
}

static void perform(struct server *server, const struct action *action)
{
    switch (action->kind) {
    case ACTION_NONE:
        break;
    case ACTION_SEND:
        perform_send(server, action);
        break;
    case ACTION_JOURNAL:
        perform_journal(server, action);
        break;
    case ACTION_START_HELPERS:
        perform_start_helpers(server, action);
        break;
    case ACTION_STOP_HELPERS:
        for (int i = 0; i < HELPERS_LAUNCHES; i++)
            if (server->helpers[i].generation == action->helpers.generation)
                helpers_stop(&server->helpers[i]);
        break;
    case ACTION_WATCH:
        perform_watch(server, action);
        break;
    case ACTION_UNWATCH:
        process_watch_remove(&server->watch, action->watch.worker);
        break;
    case ACTION_EVENT:
        report_event(server, action->event.kind, action->event.is_warning, action->event.text);
        break;
    case ACTION_STEP:
        note_step(server, action);
        break;
    case ACTION_EXPECT_SNAPSHOT:
        snapshot_traffic_expect(server, action);
        break;
    case ACTION_DROP_SNAPSHOT:
        snapshot_traffic_drop(server, action->snapshot.name);
        break;
    case ACTION_REMOVE_SNAPSHOT:
        snapshot_traffic_remove(server, action);
        break;
    case ACTION_KEEP_SNAPSHOT:
        snapshot_traffic_keep(server, action->removal.name);
        break;
    case ACTION_RESTART:
        end(server, fail(ERR_STALE, "begins again from its journal"));
        break;
    case ACTION_FINISHED:
        server->is_finished = 1;
        break;
    }
}

void perform_actions(struct server *server)
{
    for (uint32_t i = 0; i < server->actions.count && server->status == OK; i++) {
        struct action *action = &server->actions.items[i];
        if (may_be_late(server, action))
            actions_move(action, &server->late.plans);
        else if (waits_for_flushes(action))
            perform_late(server);
        else if (action->kind == ACTION_SEND && !is_message(action, MESSAGE_VERDICT))
            send_late_plans(server); /* messages to a member stay in order */
        if (server->status == OK)
            perform(server, action);
    }
}

void perform_late(struct server *server)
{
    send_late_plans(server);
    check_journal(server, journal_settle(server->journal), "the last one written");
    if (server->status == OK && server->late.is_due)
        report_step(server, &server->late.step);
    server->late.is_due = 0;
}

int perform_is_late(const struct server *server)
{
    return server->late.is_due && clock_us() >= server->late.due_us;
}
