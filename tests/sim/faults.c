/* faults.c - what goes wrong: deaths, cuts, stalls, and operators in a hurry. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/shell.h"
#include "tests/sim/world.h"

#include <stdio.h>
#include <string.h>

enum {
    FAULTS_SHARDS = 12, /* found while there are faults */
    HUNG_MS = 9000,     /* beyond every deadline */
    FORMING_MS = 3000,  /* a generation that began to form meanwhile may be late because of it */
    SUSPECT_MS = 200,   /* after the end of its trouble, until it is heard of again */
};

/* Until then, and a moment longer, it looks like a dead worker from outside. */
static void suspect(struct sim_worker *worker, int64_t until)
{
    if (until + SUSPECT_MS > worker->suspect_until)
        worker->suspect_until = until + SUSPECT_MS;
}

static void cut_off(struct world *world, int place)
{
    struct sim_worker *worker = &world->workers[place];
    uint64_t connection = worker->connection;
    if (!worker->is_alive || connection == 0)
        return;
    world_trace(world, "--- w%d is cut off", place);
    worker->connection = 0;
    if (world_chance(world, 0.5))
        shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_CONNECTION_LOST,
                                                       .connection = connection});
    int64_t cut_ms = world_delay(world, 1500);
    suspect(worker, world->now + cut_ms);
    world_reconnects_in(world, cut_ms, place);
}

static void kill_worker(struct world *world, int place)
{
    struct sim_worker *worker = &world->workers[place];
    if (!worker->is_alive)
        return;
    world_trace(world, "--- w%d dies", place);
    uint64_t id = worker->id;
    crew_kill(world, place);
    world->kills++;
    if (place % 2 == 0) /* on the server's host: its pidfd tells */
        world_tells_death_in(world, 1 + world_delay(world, 5), place, id);
}

static void add_shard(struct world *world)
{
    if (world->shard_count < FAULTS_SHARDS)
        shell_find_shard(world, world->shard_count++);
}

static void retire_shard(struct world *world)
{
    char path[32];
    snprintf(path, sizeof(path), "store/%u", random_below(&world->random, world->shard_count));
    if (world->shard_count > 2 && strcmp(path, "store/0") != 0)
        shell_command(world, COMMAND_RETIRE, path);
}

/* An operator or retention wants one gone, perhaps the one that a restore reads just now. */
static void remove_snapshot(struct world *world)
{
    char name[JOURNAL_NAME_BYTES];
    if (world->stored_count == 0)
        return;
    snprintf(name, sizeof(name), "%s",
             world->stored[random_below(&world->random, world->stored_count)].name);
    if (world_chance(world, 0.5))
        shell_command(world, COMMAND_REMOVE, name);
    else
        shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_SURPLUS,
                                                       .snapshot = {.name = name}});
}

static void break_helpers(struct world *world)
{
    uint64_t generation = world_chance(world, 0.5) ? world->generation : world->next_generation;
    rehearsal_helpers_stop(world, generation);
    shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED,
                                                   .generation = generation});
}

/* Is there somebody who stays if this one goes? */
static int may_leave(struct world *world, int place)
{
    int staying = 0;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        const struct sim_worker *worker = &world->workers[i];
        staying += i != place && worker->is_alive && !worker->wants_to_leave &&
                   worker->roster_life == world->server_life;
    }
    return staying > 1 && world->workers[place].is_alive;
}

void faults_change_peacefully(struct world *world)
{
    int place = (int)random_below(&world->random, WORLD_WORKERS);
    struct sim_worker *worker = &world->workers[place];
    char name[16];
    snprintf(name, sizeof(name), "w%d", place);
    if (world_chance(world, 0.3))
        world->slot_ms[place] = 1 + world_delay(world, 15);
    else if (world_chance(world, 0.3))
        add_shard(world);
    else if (may_leave(world, place)) {
        worker->wants_to_leave = 1;
        world_trace(world, "--- w%d is to leave", place);
        if (world_chance(world, 0.5))
            shell_command(world, COMMAND_DRAIN, name);
        else
            crew_handle(world, place, &(struct member_event){.kind = MEMBER_DRAIN});
    }
}

static void accuse(struct world *world, int place)
{
    if (world->workers[place].is_alive && world->now > world->workers[place].suspect_until)
        world_tells_death_in(world, 1, place, world->workers[place].id);
}

void faults_happen(struct world *world)
{
    int place = (int)random_below(&world->random, WORLD_WORKERS);
    struct sim_worker *worker = &world->workers[place];
    char name[16];
    snprintf(name, sizeof(name), "w%d", place);
    if (world->bug == BUG_ACCUSE)
        accuse(world, place);
    switch (random_below(&world->random, 15)) {
    case 0:
    case 1:
    case 2:
        kill_worker(world, place);
        break;
    case 3:
        shell_kill(world);
        break;
    case 4:
    case 5:
        cut_off(world, place);
        break;
    case 6:
        worker->stalled_until = world->now + world_delay(world, 3000);
        suspect(worker, worker->stalled_until);
        world_trace(world, "--- w%d stands still until %lld", place,
                    (long long)worker->stalled_until);
        break;
    case 7:
        shell_command(world, world_chance(world, 0.5) ? COMMAND_DRAIN : COMMAND_EVICT, name);
        break;
    case 8:
        worker->wants_to_leave = 1;
        if (worker->is_alive)
            crew_handle(world, place, &(struct member_event){.kind = MEMBER_DRAIN});
        break;
    case 9:
        if (world_chance(world, 0.7))
            add_shard(world);
        else
            retire_shard(world);
        break;
    case 10:
        shell_command(world, world_chance(world, 0.3) ? COMMAND_PAUSE : COMMAND_RESUME, "");
        break;
    case 12: /* other work on its host, or no more of it */
        world->slot_ms[place] = 1 + world_delay(world, 15);
        break;
    case 13:
        remove_snapshot(world);
        break;
    case 11:
        worker->hung_until = world->now + HUNG_MS;
        suspect(worker, worker->hung_until + FORMING_MS);
        world_trace(world, "--- w%d hangs until %lld", place, (long long)worker->hung_until);
        break;
    default:
        break_helpers(world);
        break;
    }
}
