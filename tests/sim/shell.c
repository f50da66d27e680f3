/* shell.c - the server's shell, made up: it carries actions out, and dies between any two of them.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/shell.h"

#include <stdio.h>
#include <string.h>

#include "common/mem.h"
#include "tests/sim/agenda.h"

static void note_slices(struct world *world, const struct message_snapshot_begin *begin)
{
    uint32_t count = begin->slice_count;
    if (count == 0)
        return;
    world->pushing.slices |= UINT64_C(1) << begin->slice;
    if (begin->has_slice_before)
        world->pushing.slices |= UINT64_C(1) << (begin->slice + count - 1) % count;
    if (world->pushing.arrived + 1 == world->pushing.shares &&
        world->pushing.slices != (UINT64_C(1) << count) - 1)
        world_violation(world, "I11: snapshot '%s' lacks a slice of the momentum",
                        world->pushing.name);
}

void shell_share_arrives(struct world *world, const struct message *begin, uint64_t hash)
{
    if (world->coordinator == NULL || !world->pushing.is_pending ||
        strcmp(world->pushing.name, begin->snapshot_begin.name) != 0)
        return;
    if (world->pushing.step != begin->header.step)
        world_violation(world, "I11: snapshot '%s' is of two steps", world->pushing.name);
    if (world->pushing.arrived > 0 && world->pushing.hash != hash)
        world_violation(world, "I11: snapshot '%s' has shares of different states",
                        world->pushing.name);
    if (begin->header.generation != world->pushing.generation ||
        begin->snapshot_begin.share_count != world->pushing.shares)
        return; /* cut for an earlier attempt: of the file its bytes are others than those awaited
                 */
    world->pushing.hash = hash;
    if ((world->pushing.came >> begin->snapshot_begin.share & 1) != 0)
        return; /* it was told twice */
    world->pushing.came |= UINT64_C(1) << begin->snapshot_begin.share;
    note_slices(world, &begin->snapshot_begin);
    if (++world->pushing.arrived == world->pushing.shares)
        agenda_after(world, 1 + world_delay(world, 50), SNAPSHOT_DONE, 0, world->server_life, 0);
}

void shell_kill(struct world *world)
{
    if (world->coordinator == NULL)
        return;
    world_trace(world, "--- server dies");
    coordinator_destroy(world->coordinator);
    world->coordinator = NULL;
    world->pushing.is_pending = 0;
    rehearsal_helpers_stop(world, 0);
    world->server_kills++;
    agenda_after(world, 10 + world_delay(world, 1500), SERVER_START, 0, 0, 0);
}

static void journal(struct world *world, const struct journal_record *record)
{
    if (world->journal_count == world->journal_capacity) {
        world->journal_capacity = world->journal_capacity * 2 + 64;
        world->journal =
            mem_resize(world->journal, world->journal_capacity * sizeof(*world->journal));
    }
    world_trace(world, "    journal %s", journal_kind_name(record->kind));
    journal_record_copy(record, &world->journal[world->journal_count++]);
    fall_note(world, record);
    oracle_journal(world, record);
}

static void send_to_worker(struct world *world, uint64_t connection, const struct message *message)
{
    for (int i = 0; i < WORLD_WORKERS; i++)
        if (world->workers[i].is_alive && world->workers[i].connection == connection)
            agenda_transmit(world, i, 0, message);
}

static void expect_snapshot(struct world *world, const struct action *action)
{
    world->pushing.is_pending = 1;
    memcpy(world->pushing.name, action->snapshot.name, sizeof(world->pushing.name));
    world->pushing.step = action->snapshot.step;
    world->pushing.shares = action->snapshot.shares;
    world->pushing.arrived = 0;
    world->pushing.slices = world->pushing.came = 0;
    agenda_after(world, 3000, SNAPSHOT_LATE, 0, world->server_life, action->snapshot.step);
}

static void remove_snapshot(struct world *world, const char *name)
{
    for (uint32_t i = 0; i < world->stored_count; i++)
        if (strcmp(world->stored[i].name, name) == 0)
            world->stored[i--] = world->stored[--world->stored_count];
}

/* pidfd_open tells at once of one that is dead already. */
static void watch(struct world *world, uint64_t id)
{
    for (int i = 0; i < WORLD_WORKERS; i++)
        if (world->workers[i].is_alive && world->workers[i].id == id)
            return;
    world_tells_death_in(world, 0, 0, id);
}

static void carry_out(struct world *world, const struct action *action)
{
    if (action->kind == ACTION_SEND) {
        if (action->send.message.kind == MESSAGE_SNAPSHOT_BEGIN)
            world->pushing.generation = action->send.message.header.generation;
        oracle_sent(world, &action->send.message);
        send_to_worker(world, action->send.connection, &action->send.message);
    } else if (action->kind == ACTION_JOURNAL)
        journal(world, &action->record);
    else if (action->kind == ACTION_WATCH)
        watch(world, action->watch.worker);
    else if (action->kind == ACTION_START_HELPERS) {
        world->next_generation = action->helpers.generation;
        rehearsal_helpers_start(world, action->helpers.generation);
    } else if (action->kind == ACTION_STOP_HELPERS)
        rehearsal_helpers_stop(world, action->helpers.generation);
    else if (action->kind == ACTION_EXPECT_SNAPSHOT)
        expect_snapshot(world, action);
    else if (action->kind == ACTION_DROP_SNAPSHOT)
        world->pushing.is_pending &= strcmp(world->pushing.name, action->snapshot.name) != 0;
    else if (action->kind == ACTION_REMOVE_SNAPSHOT)
        remove_snapshot(world, action->removal.name);
    else if (action->kind == ACTION_EVENT) {
        world->closed += strcmp(action->event.kind, "shard_closed") == 0;
        world_trace(world, "  %s %s", action->event.kind, action->event.text);
    } else if (action->kind == ACTION_RESTART)
        shell_kill(world);
    else if (action->kind == ACTION_FINISHED)
        world->is_finished = 1;
}

/* Carries actions out one by one; the server may die before any of them. */
static void carry_out_all(struct world *world, struct actions *actions, uint64_t life)
{
    enum { UNSETTLED_RISK = 4 }; /* times as much, for what is to be seen is rare */
    double risk = world->is_calm || world->is_peaceful ? 0.0 : 0.0005 * world->fault_rate;
    int passes = world->bug == BUG_SEND_BEFORE_JOURNAL ? 2 : 1;
    for (int pass = 0; pass < passes; pass++)
        for (uint32_t i = 0; i < actions->count; i++) {
            const struct action *action = &actions->items[i];
            if (passes == 2 && (action->kind == ACTION_JOURNAL) != (pass == 1))
                continue;
            if (world->coordinator == NULL || world->server_life != life)
                return;
            fall_settle(world, action);
            if (world_chance(world, world->late.is_unsettled ? UNSETTLED_RISK * risk : risk)) {
                if (world->late.is_unsettled && world_chance(world, 0.5))
                    fall_happen(world);
                shell_kill(world);
                return;
            }
            carry_out(world, action);
        }
}

void shell_serve(struct world *world, const struct coordinator_event *event)
{
    if (world->coordinator == NULL || world->is_finished)
        return;
    struct actions actions;
    actions_init(&actions);
    coordinator_handle(world->coordinator, event, world->now, &actions);
    carry_out_all(world, &actions, world->server_life);
    actions_done(&actions);
}

void shell_find_shard(struct world *world, uint32_t shard)
{
    char path[32];
    snprintf(path, sizeof(path), "store/%u", shard);
    shell_serve(world, &(struct coordinator_event){
                           .kind = COORDINATOR_SHARD_FOUND,
                           .shard = {.path = path, .records = 17 + shard * 7 % 40}});
}

void shell_command(struct world *world, enum coordinator_command kind, const char *argument)
{
    world_trace(world, "--- command %d %s", kind, argument);
    shell_serve(world, &(struct coordinator_event){
                           .kind = COORDINATOR_COMMAND,
                           .command = {.command = kind, .request = 1, .argument = argument}});
}

void shell_start(struct world *world)
{
    world_trace(world, "--- server starts");
    struct actions actions;
    actions_init(&actions);
    world->server_life++;
    world->coordinator = coordinator_create(&(struct coordinator_setup){
        .config = &world->config,
        .config_text = "train: {}\n",  /* crew.c knows the config */
        .run = 1 + world->server_life, /* the journal's must win */
        .entropy = world->seed + world->server_life,
        .boot = world->boot,
    });
    for (uint32_t i = 0; i < world->journal_count; i++)
        if (coordinator_restore(world->coordinator, &world->journal[i]) != OK)
            world_violation(world, "record %u is not restored: %s", i, fail_message());
    struct coordinator_view view;
    coordinator_view(world->coordinator, &view);
    if (world->initial.name[0] != 0 && !view.has_initial && !view.has_begun)
        coordinator_begin_with_initial(world->coordinator);
    coordinator_start(world->coordinator, world->now, &actions);
    agenda_after(world, COORDINATOR_TICK_MS, SERVER_TICK, 0, world->server_life, 0);
    carry_out_all(world, &actions, world->server_life);
    actions_done(&actions);
    if (world_chance(world, 0.3)) /* helpers outlive the server, unless its control group ended */
        shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED,
                                                       .generation = world->generation});
    for (uint32_t i = 0; i < world->shard_count && world->coordinator != NULL; i++)
        shell_find_shard(world, i);
    for (int i = 0; i < WORLD_WORKERS; i++)
        if (world->workers[i].is_alive)
            agenda_after(world, world_delay(world, 300), RECONNECT, i, world->workers[i].id, 0);
}

void shell_finish_snapshot(struct world *world)
{
    if (!world->pushing.is_pending)
        return;
    world->pushing.is_pending = 0;
    struct stored_snapshot *stored = &world->stored[world->stored_count % HISTORY_SNAPSHOTS];
    memcpy(stored->name, world->pushing.name, sizeof(stored->name));
    stored->step = world->pushing.step;
    stored->hash = world->pushing.hash ^ (world->bug == BUG_SPOIL_SNAPSHOT);
    if (world->stored_count < HISTORY_SNAPSHOTS)
        world->stored_count++;
    shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE,
                                                   .snapshot = {stored->name, stored->step}});
}

void shell_give_up_snapshot(struct world *world, uint64_t step)
{
    if (!world->pushing.is_pending || world->pushing.step != step)
        return;
    world->pushing.is_pending = 0;
    shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_FAILED,
                                                   .snapshot = {world->pushing.name, step}});
}
