/* snapshot_records.c - which snapshots a restore may use. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/snapshot_records.h"

#include <stdio.h>
#include <string.h>

#include "server/snapshot_name.h"

const struct journal_snapshot *snapshot_records_newest(const struct coordinator *c)
{
    return c->snapshot_count > 0 ? &c->snapshots[c->snapshot_count - 1] : NULL;
}

static int is_known(const struct coordinator *c, const char *name)
{
    for (uint32_t i = 0; i < c->snapshot_count; i++)
        if (strcmp(c->snapshots[i].name, name) == 0)
            return 1;
    return 0;
}

void snapshot_records_forget(struct coordinator *c, const char *name)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->snapshot_count; i++)
        if (strcmp(c->snapshots[i].name, name) != 0)
            c->snapshots[kept++] = c->snapshots[i];
    c->snapshot_count = kept;
}

void snapshot_records_begin(struct coordinator *c)
{
    struct journal_record record = {.kind = JOURNAL_SNAPSHOT,
                                    .snapshot = {.name = SNAPSHOT_INITIAL}};
    schedule_init(&record.snapshot.schedule);
    core_journal(c, &record);
    c->has_initial = 1;
    actions_event(c->out, "initial_state_taken", 0, "snapshot=" SNAPSHOT_INITIAL " from=\"%s\"",
                  c->config->model.init);
}

void snapshot_records_add(struct coordinator *c, const struct journal_snapshot *snapshot)
{
    if (snapshot_name_is_initial(snapshot->name) && snapshot->step == 0) {
        c->has_initial = 1;
        return;
    }
    snapshot_records_forget(c, snapshot->name);
    if (c->snapshot_count == CORE_SNAPSHOTS)
        memmove(c->snapshots, c->snapshots + 1, --c->snapshot_count * sizeof(*c->snapshots));
    c->snapshots[c->snapshot_count++] = *snapshot;
}

/* Members that form may be reading it. */
static int is_in_use(const struct coordinator *c, const char *name)
{
    return c->state == RUN_FORMING && c->group.source == STATE_SNAPSHOT &&
           strcmp(c->group.snapshot, name) == 0;
}

static void push_removal(struct coordinator *c, const char *name, uint64_t connection,
                         uint64_t request)
{
    struct action *action = actions_push(c->out, ACTION_REMOVE_SNAPSHOT);
    snprintf(action->removal.name, sizeof(action->removal.name), "%s", name);
    action->removal.connection = connection;
    action->removal.request = request;
}

static void push_keep(struct coordinator *c, const char *name)
{
    struct action *action = actions_push(c->out, ACTION_KEEP_SNAPSHOT);
    snprintf(action->removal.name, sizeof(action->removal.name), "%s", name);
}

/* name is no string of the record that is forgotten here. */
static void remove_file(struct coordinator *c, const char *name, const char *reason,
                        uint64_t connection, uint64_t request)
{
    struct journal_record record = {.kind = JOURNAL_SNAPSHOT_REMOVED};
    snprintf(record.removed.name, sizeof(record.removed.name), "%s", name);
    if (is_known(c, name))
        core_journal(c, &record);
    snapshot_records_forget(c, name);
    actions_event(c->out, "snapshot_removed", 0, "snapshot=%s reason=\"%s\"", name, reason);
    push_removal(c, name, connection, request);
}

void snapshot_records_discard(struct coordinator *c, const char *name)
{
    if (!is_known(c, name))
        push_removal(c, name, 0, 0);
}

enum status snapshot_records_remove(struct coordinator *c, const char *name, const char *reason,
                                    uint64_t connection, uint64_t request)
{
    if (c->has_initial && snapshot_name_is_initial(name)) {
        push_keep(c, name);
        return fail(ERR_INPUT,
                    "the run began with '%s', and does so again when all others are lost", name);
    }
    if (is_in_use(c, name)) {
        push_keep(c, name);
        return fail(ERR_STALE, "the run is being restored from '%s': ask again when it trains",
                    name);
    }
    remove_file(c, name, reason, connection, request);
    return OK;
}

void snapshot_records_release(struct coordinator *c, const char *name)
{
    const struct journal_snapshot *newest = snapshot_records_newest(c);
    int is_newest = newest != NULL && strcmp(newest->name, name) == 0;
    if (is_newest || is_in_use(c, name))
        push_keep(c, name);
    else
        remove_file(c, name, "retention", 0, 0);
}

void snapshot_records_gone(struct coordinator *c, const char *name, const char *reason)
{
    const int is_initial = c->has_initial && snapshot_name_is_initial(name);
    if (!is_known(c, name) && !is_initial)
        return;
    snapshot_records_forget(c, name);
    actions_event(c->out, "snapshot_unusable", 1, "snapshot=%s reason=\"%s\"", name, reason);
}
