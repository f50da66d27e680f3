/* world.c - a life: what happens to whom, and in which order all begins and ends. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/world.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "server/snapshot_name.h"
#include "tests/sim/agenda.h"
#include "tests/sim/shell.h"

enum {
    SIM_FAULTS_MS = 12000,
    SIM_CALM_MS = 60000,     /* in which progress must be made */
    SIM_PROGRESS_STEPS = 10, /* this much */
    SIM_EVENTS_MAX = 2000000,
    SIM_CALM_SHARDS = 24, /* and after, so that nobody waits for images */
};

void world_violation(struct world *world, const char *format, ...)
{
    va_list arguments;
    printf("VIOLATION seed=%llu time_ms=%lld event=%llu: ", (unsigned long long)world->seed,
           (long long)world->now, (unsigned long long)world->event_count);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n  again: test_sim --seed %llu --verbose\n", (unsigned long long)world->seed);
    exit(world->bug != BUG_NONE ? 0 : 1); /* a planted bug was found */
}

void world_trace(struct world *world, const char *format, ...)
{
    if (!world->is_verbose)
        return;
    va_list arguments;
    printf("%8lld ", (long long)world->now);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf("\n");
}

int64_t world_delay(struct world *world, int64_t longest_ms)
{
    return random_below(&world->random, (uint32_t)longest_ms + 1);
}

int world_chance(struct world *world, double probability)
{
    return random_uniform(&world->random, 0.0, 1.0) < probability;
}

void world_send_to_server(struct world *world, int place, const struct message *message)
{
    if (world->coordinator == NULL || world->workers[place].connection == 0)
        return;
    if (message->kind == MESSAGE_READY)
        oracle_note_vote(world, message);
    agenda_transmit(world, place, 1, message);
}

void world_job_ends(struct world *world, int place, uint64_t run, int is_failed, int64_t after_ms)
{
    agenda_push(world, &(struct happening){.time = world->now + after_ms,
                                           .kind = JOB_END,
                                           .place = place,
                                           .connection = world->workers[place].id,
                                           .number = run,
                                           .flag = is_failed});
}

void world_preparation_ends(struct world *world, int place, uint64_t run, int is_failed,
                            int64_t after_ms)
{
    agenda_push(world, &(struct happening){.time = world->now + after_ms,
                                           .kind = PREPARATION_END,
                                           .place = place,
                                           .connection = world->workers[place].id,
                                           .number = run,
                                           .flag = is_failed});
}

void world_shard_fails_in(struct world *world, int64_t ms, int place, uint32_t shard)
{
    agenda_after(world, ms, SHARD_FAILS, place, world->workers[place].id, shard);
}

void world_first_tick(struct world *world, int place)
{
    agenda_after(world, world_delay(world, 100), WORKER_TICK, place, world->workers[place].id, 0);
}

/* ZeroMQ connects again by itself; the worker may notice, or not. */
static void reconnect(struct world *world, int place)
{
    struct sim_worker *worker = &world->workers[place];
    if (world_chance(world, 0.5)) {
        worker->connection = ++world->connections;
        world->link_ms[place][0] = world->link_ms[place][1] = world->now;
        return;
    }
    crew_handle(world, place, &(struct member_event){.kind = MEMBER_DISCONNECTED});
    if (worker->is_alive)
        crew_connect(world, place);
}

/* What keeps real workers alive: systemd, Slurm. */
static void supervise(struct world *world)
{
    for (int i = 0; i < WORLD_WORKERS; i++)
        if (!world->workers[i].is_alive && world_chance(world, world->is_calm ? 0.3 : 0.1))
            crew_start(world, i);
    agenda_after(world, 300, SUPERVISE, 0, 0, 0);
}

void world_reconnects_in(struct world *world, int64_t ms, int place)
{
    agenda_after(world, ms, RECONNECT, place, world->workers[place].id, 0);
}

void world_tells_death_in(struct world *world, int64_t ms, int place, uint64_t worker)
{
    agenda_after(world, ms, PROCESS_DIED, place, worker, 0);
}

static void happen_to_server(struct world *world, struct happening *happening)
{
    if (happening->kind == TO_SERVER) {
        if (world->workers[happening->place].connection != happening->connection)
            return; /* lost with its connection */
        world_trace(world, "w%d -> %s g=%llu s=%llu", happening->place,
                    message_kind_name(happening->message.kind),
                    (unsigned long long)happening->message.header.generation,
                    (unsigned long long)happening->message.header.step);
        int is_stale = oracle_is_stale(world, &happening->message);
        uint64_t stale_count = oracle_stale_count(world);
        if (world->bug == BUG_COUNT_STALE_VOTES && happening->message.kind == MESSAGE_READY) {
            happening->message.header.generation = world->generation;
            happening->message.header.step = world->committed;
        }
        shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_MESSAGE,
                                                       .connection = happening->connection,
                                                       .message = &happening->message});
        if (is_stale)
            oracle_disbelieved(world, &happening->message, stale_count);
    } else if (happening->kind == PROCESS_DIED) {
        shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED,
                                                       .worker = happening->connection});
    } else if (happening->kind == SERVER_START) {
        if (world->coordinator == NULL)
            shell_start(world);
    } else if (happening->connection == world->server_life) {
        if (happening->kind == SNAPSHOT_DONE)
            shell_finish_snapshot(world);
        else if (happening->kind == SNAPSHOT_LATE)
            shell_give_up_snapshot(world, happening->number);
        else if (happening->kind == SERVER_TICK && world->coordinator != NULL) {
            agenda_after(world, COORDINATOR_TICK_MS, SERVER_TICK, 0, world->server_life, 0);
            shell_serve(world, &(struct coordinator_event){.kind = COORDINATOR_TICK});
        }
    }
}

static void happen_to_worker(struct world *world, struct happening *happening)
{
    int place = happening->place;
    struct sim_worker *worker = &world->workers[place];
    if (!worker->is_alive)
        return;
    if (happening->kind == TO_WORKER) {
        if (worker->connection != happening->connection)
            return;
        world_trace(world, "        w%d <- %s g=%llu s=%llu", place,
                    message_kind_name(happening->message.kind),
                    (unsigned long long)happening->message.header.generation,
                    (unsigned long long)happening->message.header.step);
        crew_handle(world, place,
                    &(struct member_event){.kind = MEMBER_MESSAGE, .message = &happening->message});
    } else if (worker->id == happening->connection) {
        if (happening->kind == JOB_END)
            crew_job_done(world, place, happening->number, happening->flag);
        else if (happening->kind == PREPARATION_END)
            rehearsal_end(world, place, happening->number, happening->flag);
        else if (happening->kind == SHARD_FAILS)
            mounts_complain(world, worker, (uint32_t)happening->number);
        else if (happening->kind == RECONNECT && world->coordinator != NULL)
            reconnect(world, place);
        else if (happening->kind == WORKER_TICK) {
            agenda_after(world, 100, WORKER_TICK, place, worker->id, 0);
            crew_tick(world, place);
        }
    }
}

static int64_t stands_still_until(const struct world *world, const struct happening *happening)
{
    const struct sim_worker *worker = &world->workers[happening->place];
    if (happening->kind == JOB_END && worker->hung_until > worker->stalled_until)
        return worker->hung_until;
    return worker->stalled_until;
}

static void happen(struct world *world, struct happening *happening)
{
    switch (happening->kind) {
    case TO_WORKER:
    case JOB_END:
    case PREPARATION_END:
    case RECONNECT:
    case SHARD_FAILS:
    case WORKER_TICK:
        if (stands_still_until(world, happening) > world->now) {
            happening->time = stands_still_until(world, happening);
            agenda_push(world, happening);
            happening->message = (struct message){0};
            return;
        }
        happen_to_worker(world, happening);
        break;
    case SUPERVISE:
        supervise(world);
        break;
    case FAULT:
        if (world->now < world->faults_until) {
            if (world->is_peaceful)
                faults_change_peacefully(world);
            else
                faults_happen(world);
            agenda_after(world, 1 + world_delay(world, (int64_t)(1200 / world->fault_rate)), FAULT,
                         0, 0, 0);
        }
        break;
    default:
        happen_to_server(world, happening);
        break;
    }
}

/* Goes on until the clock shows `until`, `steps` more were committed, or the run is finished. */
static void live(struct world *world, int64_t until, uint64_t steps)
{
    uint64_t goal = steps > 0 ? world->commits + steps : UINT64_MAX;
    while (agenda_next_ms(world) <= until && world->commits < goal && !world->is_finished) {
        struct happening *happening = agenda_pop(world);
        world->now = happening->time;
        happen(world, happening);
        message_done(&happening->message);
        mem_free(happening);
        oracle_look(world);
        if (++world->event_count > SIM_EVENTS_MAX)
            world_violation(world, "liveness: %d events and no end", SIM_EVENTS_MAX);
    }
    if (world->commits < goal && !world->is_finished)
        world->now = until;
}

static void configure(struct world *world)
{
    struct config *config = &world->config;
    config_init(config);
    config->run.seed = (int64_t)world->seed;
    config->train.batch_images = world->batch;
    config->train.slot_images = WORLD_SLOT_IMAGES;
    config->train.steps = 0;
    config->data.block_records = 4;
    config->data.window_blocks = 2;
    config->data.exhausted = world->seed % 4 == 3 ? EXHAUSTED_WAIT : EXHAUSTED_REPEAT;
    config->optimizer.sharded = world->seed / 4 % 2;
    config->snapshot.every_steps = 10;
    config->schedule.warmup_steps = 3;
    config->schedule.plateau_window_steps = 4; /* many cuts in a short life */
    config->schedule.plateau_patience = config->schedule.plateau_cooldown = 1;
    config->server.heartbeat_ms = 100;
    config->server.lost_ms = 1000;
    config->server.form_ms = 2000;
    config->server.step_ms = 5000;
    config->server.plan_ahead_steps = 1 + (int64_t)(world->seed % 4);
    config->server.digest_every_steps = 1 + (int64_t)(world->seed % 3);
    world->fingerprint = config_fingerprint(config);
}

struct world *world_create(uint64_t seed, enum world_bug bug, int is_verbose)
{
    struct world *world = mem_zero(sizeof(*world));
    world->seed = seed;
    world->bug = bug;
    world->boot = WORLD_FIRST_BOOT;
    world->is_verbose = is_verbose;
    random_init(&world->random, seed, RANDOM_STREAM_TEST, 0, 0);
    if (seed % WORLD_HEARD == 0)
        world->testimony = testimony_create();
    world->slots = seed % 2 == 0 ? 5 : WORLD_SLOTS_MAX;
    world->batch = world->slots * WORLD_SLOT_IMAGES;
    for (int i = 0; i < WORLD_WORKERS; i++)
        world->slot_ms[i] = 1 + world_delay(world, 15);
    configure(world);
    world->hashes[0] = oracle_first_hash();
    if (world->seed % 3 == 0)
        world->initial =
            (struct stored_snapshot){.name = SNAPSHOT_INITIAL, .hash = oracle_first_hash()};
    schedule_init(&world->schedules[0]);
    world->fault_rate = 0.3 + 3.0 * random_uniform(&world->random, 0.0, 1.0);
    world->faults_until = SIM_FAULTS_MS;
    world->shard_count = 1 + random_below(&world->random, 4);
    return world;
}

void world_run(struct world *world)
{
    agenda_after(world, 0, SERVER_START, 0, 0, 0);
    agenda_after(world, 1, SUPERVISE, 0, 0, 0);
    agenda_after(world, 500, FAULT, 0, 0, 0);
    live(world, world->faults_until, 0);
    live(world, world->now + 3000, 0); /* what was cut off or asleep comes back */
    world->is_calm = 1;
    if (world->coordinator == NULL)
        live(world, world->now + 2000, 0);
    shell_command(world, COMMAND_RESUME, "");
    for (int i = 0; i < SIM_CALM_SHARDS; i++)
        shell_find_shard(world, world->shard_count++);
    uint64_t commits = world->commits;
    live(world, world->now + SIM_CALM_MS, SIM_PROGRESS_STEPS);
    if (world->commits < commits + SIM_PROGRESS_STEPS)
        world_violation(world, "liveness: %llu steps in %d ms without a fault",
                        (unsigned long long)(world->commits - commits), SIM_CALM_MS);
    shell_command(world, COMMAND_STOP, "");
    live(world, world->now + SIM_CALM_MS, 0);
    if (!world->is_finished)
        world_violation(world, "liveness: told to stop, still there");
    oracle_audit(world);
}

double world_run_calmly(struct world *world, int64_t slot_ms)
{
    enum { SETTLE_STEPS = 60, STEPS = 100 };
    for (int i = 0; i < WORLD_WORKERS; i++)
        world->slot_ms[i] = i == 0 ? slot_ms : WORLD_CALM_SLOT_MS;
    world->is_calm = 1;
    for (int i = 0; i < WORLD_WORKERS; i++)
        crew_start(world, i);
    agenda_after(world, 0, SERVER_START, 0, 0, 0);
    live(world, world->now + SIM_CALM_MS, SETTLE_STEPS);
    int64_t start_ms = world->now;
    live(world, world->now + SIM_CALM_MS, STEPS);
    if (world->commits < SETTLE_STEPS + STEPS)
        world_violation(world, "liveness: %llu steps of %d without a fault",
                        (unsigned long long)world->commits, SETTLE_STEPS + STEPS);
    return (double)(world->now - start_ms) / STEPS;
}

void world_destroy(struct world *world)
{
    for (int i = 0; i < WORLD_WORKERS; i++)
        crew_kill(world, i);
    for (int i = 0; i < WORLD_MEETINGS; i++)
        meeting_done(&world->meetings[i]);
    agenda_done(world);
    for (uint32_t i = 0; i < world->journal_count; i++)
        journal_record_done(&world->journal[i]);
    coordinator_destroy(world->coordinator);
    testimony_destroy(world->testimony);
    mem_free(world->journal);
    mem_free(world);
}
