/* rehearsal.c - the collective of the next generation, formed by workers while they train. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/world.h"

enum { LONGEST_MS = 150, FORM_MS = 2000 /* as the config's form_ms */ };

static struct rehearsal *find(struct world *world, uint64_t generation, uint64_t nonce)
{
    for (int i = 0; i < WORLD_REHEARSALS; i++)
        if (world->rehearsals[i].generation == generation && world->rehearsals[i].nonce == nonce)
            return &world->rehearsals[i];
    return NULL;
}

static struct rehearsal *find_or_open(struct world *world, const struct sim_worker *worker)
{
    struct rehearsal *rehearsal =
        find(world, worker->preparation.generation, worker->preparation.nonce);
    if (rehearsal != NULL)
        return rehearsal;
    rehearsal = &world->rehearsals[world->rehearsal_next++ % WORLD_REHEARSALS];
    *rehearsal = (struct rehearsal){
        .generation = worker->preparation.generation,
        .nonce = worker->preparation.nonce,
        .size = worker->preparation.size,
    };
    return rehearsal;
}

/* Whoever waits in it fails, or learns of it only when it wants to use what it has. */
static void doom(struct world *world, struct rehearsal *rehearsal)
{
    if (rehearsal->is_doomed)
        return;
    rehearsal->is_doomed = 1;
    for (int i = 0; i < WORLD_WORKERS; i++) {
        struct sim_worker *worker = &world->workers[i];
        if (worker->is_alive && worker->preparation.generation == rehearsal->generation &&
            worker->preparation.nonce == rehearsal->nonce && worker->preparation.has_met)
            world_preparation_ends(world, i, worker->preparation.run, 1, world_delay(world, 40));
    }
}

void rehearsal_leave(struct world *world, struct sim_worker *worker)
{
    struct rehearsal *rehearsal =
        find(world, worker->preparation.generation, worker->preparation.nonce);
    if (worker->preparation.generation != 0 && worker->preparation.has_met && rehearsal != NULL)
        doom(world, rehearsal);
    uint64_t run = worker->preparation.run;
    worker->preparation = (struct preparation){.run = run};
}

void rehearsal_begin(struct world *world, struct sim_worker *worker,
                     const struct member_action *action)
{
    const struct message_prepare *prepare = &action->message.prepare;
    rehearsal_leave(world, worker);
    worker->preparation.generation = action->message.header.generation;
    worker->preparation.nonce = prepare->nonce;
    worker->preparation.ticket = action->ticket;
    worker->preparation.size = prepare->member_count;
    world_preparation_ends(world, worker->place, ++worker->preparation.run, 0,
                           1 + world_delay(world, LONGEST_MS));
}

/* Its helper has started; then it waits for the others'. */
static void arrive(struct world *world, struct sim_worker *worker)
{
    struct rehearsal *rehearsal = find_or_open(world, worker);
    worker->preparation.has_met = 1;
    uint64_t run = worker->preparation.run;
    if (rehearsal->is_doomed) {
        world_preparation_ends(world, worker->place, run, 1, world_delay(world, 40));
    } else if (++rehearsal->arrived < rehearsal->size) {
        world_preparation_ends(world, worker->place, run, 1, FORM_MS);
    } else {
        for (int i = 0; i < WORLD_WORKERS; i++)
            if (world->workers[i].is_alive && world->workers[i].preparation.has_met &&
                world->workers[i].preparation.generation == rehearsal->generation)
                world_preparation_ends(world, i, world->workers[i].preparation.run, 0,
                                       world_delay(world, 15));
    }
}

void rehearsal_end(struct world *world, int place, uint64_t run, int is_failed)
{
    struct sim_worker *worker = &world->workers[place];
    struct preparation *preparation = &worker->preparation;
    if (preparation->generation == 0 || preparation->run != run || preparation->is_formed)
        return;
    if (!is_failed && !preparation->has_met) {
        arrive(world, worker);
        return;
    }
    uint64_t ticket = preparation->ticket;
    if (is_failed)
        rehearsal_leave(world, worker);
    else
        preparation->is_formed = 1;
    crew_handle(world, place,
                &(struct member_event){.kind = is_failed ? MEMBER_PREPARE_FAILED : MEMBER_PREPARED,
                                       .ticket = ticket,
                                       .reason = is_failed ? "helpers" : NULL});
}

int rehearsal_take(struct world *world, struct sim_worker *worker, const struct message *regroup)
{
    const struct preparation *preparation = &worker->preparation;
    if (!preparation->is_formed || preparation->generation != regroup->header.generation ||
        preparation->nonce != regroup->regroup.nonce)
        world_violation(world, "worker %llu takes over generation %llu that it has not prepared",
                        (unsigned long long)worker->id,
                        (unsigned long long)regroup->header.generation);
    const struct rehearsal *rehearsal = find(world, preparation->generation, preparation->nonce);
    int is_good = rehearsal != NULL && !rehearsal->is_doomed;
    worker->preparation = (struct preparation){.run = preparation->run};
    return is_good;
}

void rehearsal_helpers_start(struct world *world, uint64_t generation)
{
    world_trace(world, "    helpers of %llu start", (unsigned long long)generation);
    for (int i = 0; i < WORLD_LAUNCHES; i++)
        if (world->launches[i] == 0) {
            world->launches[i] = generation;
            return;
        }
    world_violation(world, "helpers of more than %d generations run", WORLD_LAUNCHES);
}

void rehearsal_helpers_stop(struct world *world, uint64_t generation)
{
    world_trace(world, "    helpers of %llu stop", (unsigned long long)generation);
    for (int i = 0; i < WORLD_LAUNCHES; i++)
        if (world->launches[i] == generation || generation == 0)
            world->launches[i] = 0;
    for (int i = 0; i < WORLD_REHEARSALS; i++)
        if (world->rehearsals[i].size > 0 &&
            (generation == 0 || world->rehearsals[i].generation == generation))
            doom(world, &world->rehearsals[i]);
}
