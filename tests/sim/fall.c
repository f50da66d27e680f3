/* fall.c - the server's host loses its power, and with it what the journal had not flushed yet.
 *
 * The shell writes a verdict, sends it, and flushes while members obey (journal_record_may_lag).
 * Only in between can a fall take a record away, and only that one. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/world.h"

enum {
    LATE_MS = 2
}; /* as the shell waits (server/perform.c), and for its clock a millisecond more */

void fall_note(struct world *world, const struct journal_record *record)
{
    world->late.is_unsettled = journal_record_may_lag(record);
    world->late.settles_ms = world->now + LATE_MS;
}

void fall_settle(struct world *world, const struct action *before)
{
    int is_late =
        before->kind == ACTION_SEND || before->kind == ACTION_EVENT || before->kind == ACTION_STEP;
    if (!is_late || world->now > world->late.settles_ms)
        world->late.is_unsettled = 0;
}

/* Those on the same host go with it. */
static void kill_neighbours(struct world *world)
{
    for (int i = 0; i < WORLD_WORKERS && world->boot == WORLD_FIRST_BOOT; i += 2)
        if (world->workers[i].is_alive)
            crew_kill(world, i);
}

void fall_happen(struct world *world)
{
    struct journal_record *last = &world->journal[world->journal_count - 1];
    world_trace(world, "--- the server's host falls, step %llu is lost",
                (unsigned long long)last->step.step);
    world->late.is_unsettled = 0;
    world->late.is_lost = 1;
    world->late.step = last->step;
    world->late.step.skips = NULL;
    world->late.hash = world->hashes[world->committed];
    journal_record_done(last);
    world->journal_count--;
    world->committed--;
    world->commits--;
    world->falls++;
    kill_neighbours(world);
    world->boot = WORLD_FIRST_BOOT + WORLD_WORKERS + world->falls; /* nobody's else */
}

int fall_explains(const struct world *world, const struct model *model)
{
    return world->late.is_lost && model->step == world->committed + 1 &&
           model->step == world->late.step.step + 1 && model->lineage == world->late.step.lineage &&
           model->hash == world->late.hash;
}

int fall_heals(struct world *world, const struct journal_step *step)
{
    const struct journal_step *lost = &world->late.step;
    int is_healed = world->late.is_lost && step->step == lost->step &&
                    step->lineage == lost->lineage && step->generation == lost->generation &&
                    step->epoch == lost->epoch && step->digest == lost->digest;
    world->late.is_lost = 0; /* decided, this way or the other */
    world->recovered += (uint64_t)is_healed;
    return is_healed;
}
