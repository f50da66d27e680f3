/* world.c - clock, network, disk, the server's shell, and the faults. */
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

enum happening_kind {
    TO_SERVER,
    TO_WORKER,
    JOB_END,
    PREPARATION_END,
    SERVER_TICK,
    SERVER_START,
    WORKER_TICK,
    RECONNECT,
    SUPERVISE,
    PROCESS_DIED,
    SNAPSHOT_DONE,
    SNAPSHOT_LATE,
    SHARD_FAILS,
    FAULT,
};

struct happening {
    int64_t time;
    enum happening_kind kind;
    int place;
    uint64_t connection; /* or the worker's id, or the server's life: void if that is over */
    uint64_t number;
    int flag;
    struct message message;
};

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

/* The heap is sorted by these; what is to happen lies still. */
struct heap_entry {
    int64_t time;
    uint64_t order;
    struct happening *happening;
};

static int is_before(const struct heap_entry *a, const struct heap_entry *b)
{
    return a->time != b->time ? a->time < b->time : a->order < b->order;
}

/* Takes over what the happening points to. */
static void heap_push(struct world *world, const struct happening *happening)
{
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity * 2 + 256;
        world->heap = mem_resize(world->heap, world->heap_capacity * sizeof(*world->heap));
    }
    struct heap_entry entry = {happening->time, ++world->order, mem_alloc(sizeof(*happening))};
    *entry.happening = *happening;
    uint32_t i = world->heap_count++;
    for (; i > 0 && is_before(&entry, &world->heap[(i - 1) / 2]); i = (i - 1) / 2)
        world->heap[i] = world->heap[(i - 1) / 2];
    world->heap[i] = entry;
}

/* The caller frees it. */
static struct happening *heap_pop(struct world *world)
{
    struct heap_entry top = world->heap[0], last = world->heap[--world->heap_count];
    uint32_t i = 0;
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= world->heap_count)
            break;
        if (child + 1 < world->heap_count &&
            is_before(&world->heap[child + 1], &world->heap[child]))
            child++;
        if (!is_before(&world->heap[child], &last))
            break;
        world->heap[i] = world->heap[child];
        i = child;
    }
    world->heap[i] = last;
    return top.happening;
}

static void after(struct world *world, int64_t ms, enum happening_kind kind, int place,
                  uint64_t connection, uint64_t number)
{
    heap_push(world, &(struct happening){.time = world->now + ms,
                                         .kind = kind,
                                         .place = place,
                                         .connection = connection,
                                         .number = number});
}

/* In order on each connection, but late, and now and then once more, much later. */
static void transmit(struct world *world, int place, int is_to_server,
                     const struct message *message)
{
    int64_t *link = &world->link_ms[place][is_to_server];
    int64_t arrival =
        world->now + (world_chance(world, 0.05) ? world_delay(world, 80) : world_delay(world, 3));
    *link = arrival > *link ? arrival : *link;
    struct happening happening = {.time = *link,
                                  .kind = is_to_server ? TO_SERVER : TO_WORKER,
                                  .place = place,
                                  .connection = world->workers[place].connection};
    message_copy(message, &happening.message);
    heap_push(world, &happening);
    if (world->is_calm || !world_chance(world, 0.02))
        return;
    happening.time = *link + world_delay(world, 500);
    message_copy(message, &happening.message);
    heap_push(world, &happening);
}

void world_send_to_server(struct world *world, int place, const struct message *message)
{
    if (world->coordinator == NULL || world->workers[place].connection == 0)
        return;
    if (message->kind == MESSAGE_READY)
        oracle_note_vote(world, message);
    transmit(world, place, 1, message);
}

void world_job_ends(struct world *world, int place, uint64_t run, int is_failed, int64_t after_ms)
{
    heap_push(world, &(struct happening){.time = world->now + after_ms,
                                         .kind = JOB_END,
                                         .place = place,
                                         .connection = world->workers[place].id,
                                         .number = run,
                                         .flag = is_failed});
}

void world_preparation_ends(struct world *world, int place, uint64_t run, int is_failed,
                            int64_t after_ms)
{
    heap_push(world, &(struct happening){.time = world->now + after_ms,
                                         .kind = PREPARATION_END,
                                         .place = place,
                                         .connection = world->workers[place].id,
                                         .number = run,
                                         .flag = is_failed});
}

void world_shard_fails_in(struct world *world, int64_t ms, int place, uint32_t shard)
{
    after(world, ms, SHARD_FAILS, place, world->workers[place].id, shard);
}

void world_first_tick(struct world *world, int place)
{
    after(world, world_delay(world, 100), WORKER_TICK, place, world->workers[place].id, 0);
}

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

void world_share_arrives(struct world *world, const struct message *begin, uint64_t hash)
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
        after(world, 1 + world_delay(world, 50), SNAPSHOT_DONE, 0, world->server_life, 0);
}

void world_kill_server(struct world *world)
{
    if (world->coordinator == NULL)
        return;
    world_trace(world, "--- server dies");
    coordinator_destroy(world->coordinator);
    world->coordinator = NULL;
    world->pushing.is_pending = 0;
    rehearsal_helpers_stop(world, 0);
    world->server_kills++;
    after(world, 10 + world_delay(world, 1500), SERVER_START, 0, 0, 0);
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
            transmit(world, i, 0, message);
}

static void expect_snapshot(struct world *world, const struct action *action)
{
    world->pushing.is_pending = 1;
    memcpy(world->pushing.name, action->snapshot.name, sizeof(world->pushing.name));
    world->pushing.step = action->snapshot.step;
    world->pushing.shares = action->snapshot.shares;
    world->pushing.arrived = 0;
    world->pushing.slices = world->pushing.came = 0;
    after(world, 3000, SNAPSHOT_LATE, 0, world->server_life, action->snapshot.step);
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
        world_kill_server(world);
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
                world_kill_server(world);
                return;
            }
            carry_out(world, action);
        }
}

void world_serve(struct world *world, const struct coordinator_event *event)
{
    if (world->coordinator == NULL || world->is_finished)
        return;
    struct actions actions;
    actions_init(&actions);
    coordinator_handle(world->coordinator, event, world->now, &actions);
    carry_out_all(world, &actions, world->server_life);
    actions_done(&actions);
}

void world_find_shard(struct world *world, uint32_t shard)
{
    char path[32];
    snprintf(path, sizeof(path), "store/%u", shard);
    world_serve(world, &(struct coordinator_event){
                           .kind = COORDINATOR_SHARD_FOUND,
                           .shard = {.path = path, .records = 17 + shard * 7 % 40}});
}

void world_command(struct world *world, enum coordinator_command kind, const char *argument)
{
    world_trace(world, "--- command %d %s", kind, argument);
    world_serve(world, &(struct coordinator_event){
                           .kind = COORDINATOR_COMMAND,
                           .command = {.command = kind, .request = 1, .argument = argument}});
}

static void start_server(struct world *world)
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
    coordinator_start(world->coordinator, world->now, &actions);
    after(world, COORDINATOR_TICK_MS, SERVER_TICK, 0, world->server_life, 0);
    carry_out_all(world, &actions, world->server_life);
    actions_done(&actions);
    if (world_chance(world, 0.3)) /* helpers outlive the server, unless its control group ended */
        world_serve(world, &(struct coordinator_event){.kind = COORDINATOR_HELPERS_FAILED,
                                                       .generation = world->generation});
    for (uint32_t i = 0; i < world->shard_count && world->coordinator != NULL; i++)
        world_find_shard(world, i);
    for (int i = 0; i < WORLD_WORKERS; i++)
        if (world->workers[i].is_alive)
            after(world, world_delay(world, 300), RECONNECT, i, world->workers[i].id, 0);
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
    after(world, 300, SUPERVISE, 0, 0, 0);
}

static void finish_snapshot(struct world *world)
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
    world_serve(world, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_DONE,
                                                   .snapshot = {stored->name, stored->step}});
}

static void give_up_snapshot(struct world *world, uint64_t step)
{
    if (!world->pushing.is_pending || world->pushing.step != step)
        return;
    world->pushing.is_pending = 0;
    world_serve(world, &(struct coordinator_event){.kind = COORDINATOR_SNAPSHOT_FAILED,
                                                   .snapshot = {world->pushing.name, step}});
}

void world_reconnects_in(struct world *world, int64_t ms, int place)
{
    after(world, ms, RECONNECT, place, world->workers[place].id, 0);
}

void world_tells_death_in(struct world *world, int64_t ms, int place, uint64_t worker)
{
    after(world, ms, PROCESS_DIED, place, worker, 0);
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
        world_serve(world, &(struct coordinator_event){.kind = COORDINATOR_MESSAGE,
                                                       .connection = happening->connection,
                                                       .message = &happening->message});
        if (is_stale)
            oracle_disbelieved(world, &happening->message, stale_count);
    } else if (happening->kind == PROCESS_DIED) {
        world_serve(world, &(struct coordinator_event){.kind = COORDINATOR_PROCESS_DIED,
                                                       .worker = happening->connection});
    } else if (happening->kind == SERVER_START) {
        if (world->coordinator == NULL)
            start_server(world);
    } else if (happening->connection == world->server_life) {
        if (happening->kind == SNAPSHOT_DONE)
            finish_snapshot(world);
        else if (happening->kind == SNAPSHOT_LATE)
            give_up_snapshot(world, happening->number);
        else if (happening->kind == SERVER_TICK && world->coordinator != NULL) {
            after(world, COORDINATOR_TICK_MS, SERVER_TICK, 0, world->server_life, 0);
            world_serve(world, &(struct coordinator_event){.kind = COORDINATOR_TICK});
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
            after(world, 100, WORKER_TICK, place, worker->id, 0);
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
            heap_push(world, happening);
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
            after(world, 1 + world_delay(world, (int64_t)(1200 / world->fault_rate)), FAULT, 0, 0,
                  0);
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
    while (world->heap_count > 0 && world->heap[0].time <= until && world->commits < goal &&
           !world->is_finished) {
        struct happening *happening = heap_pop(world);
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
    schedule_init(&world->schedules[0]);
    world->fault_rate = 0.3 + 3.0 * random_uniform(&world->random, 0.0, 1.0);
    world->faults_until = SIM_FAULTS_MS;
    world->shard_count = 1 + random_below(&world->random, 4);
    return world;
}

void world_run(struct world *world)
{
    after(world, 0, SERVER_START, 0, 0, 0);
    after(world, 1, SUPERVISE, 0, 0, 0);
    after(world, 500, FAULT, 0, 0, 0);
    live(world, world->faults_until, 0);
    live(world, world->now + 3000, 0); /* what was cut off or asleep comes back */
    world->is_calm = 1;
    if (world->coordinator == NULL)
        live(world, world->now + 2000, 0);
    world_command(world, COMMAND_RESUME, "");
    for (int i = 0; i < SIM_CALM_SHARDS; i++)
        world_find_shard(world, world->shard_count++);
    uint64_t commits = world->commits;
    live(world, world->now + SIM_CALM_MS, SIM_PROGRESS_STEPS);
    if (world->commits < commits + SIM_PROGRESS_STEPS)
        world_violation(world, "liveness: %llu steps in %d ms without a fault",
                        (unsigned long long)(world->commits - commits), SIM_CALM_MS);
    world_command(world, COMMAND_STOP, "");
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
    after(world, 0, SERVER_START, 0, 0, 0);
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
    for (uint32_t i = 0; i < world->heap_count; i++) {
        message_done(&world->heap[i].happening->message);
        mem_free(world->heap[i].happening);
    }
    for (uint32_t i = 0; i < world->journal_count; i++)
        journal_record_done(&world->journal[i]);
    coordinator_destroy(world->coordinator);
    testimony_destroy(world->testimony);
    mem_free(world->heap);
    mem_free(world->journal);
    mem_free(world);
}
