/* mounts.c - which shards a worker can read: some nobody can, and some workers see less than
 * others.
 *
 * As loader/shard_table.c: a plan that needs an unreadable shard waits until the server says that
 * the shard is needed no more; what is not known when a plan comes counts as bad. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/world.h"

#include "common/hash.h"

enum {
    DAMAGED_SHARDS = 9, /* one in so many, for everybody */
    GONE_SHARDS = 11,
    TOLD_MS = 20,     /* what is damaged is seen at once; */
    PATIENCE_MS = 800 /* what is not there, only after a while */
};

static uint64_t bit(uint32_t shard)
{
    return UINT64_C(1) << shard % WORLD_SHARDS_MAX;
}

static int is_one_in(const struct world *world, uint32_t shard, uint32_t count)
{
    uint64_t words[2] = {world->seed, shard};
    return shard > 0 && hash_bytes_seed(words, sizeof(words), count) % count == 0;
}

static int is_damaged(const struct world *world, uint32_t shard)
{
    return !world->is_peaceful && is_one_in(world, shard, DAMAGED_SHARDS);
}

int mounts_is_readable(const struct world *world, const struct sim_worker *worker, uint32_t shard)
{
    if (world->is_peaceful)
        return 1;
    return !is_damaged(world, shard) && !is_one_in(world, shard, GONE_SHARDS) &&
           (worker->blind_to & bit(shard)) == 0;
}

/* A store is not mounted where this process runs. */
void mounts_lose_some(struct world *world, struct sim_worker *worker)
{
    worker->blind_to = world_chance(world, 0.3) ? UINT64_MAX : random_u64(&world->random);
    worker->suspect_until = INT64_MAX;
    world_trace(world, "--- w%d is blind", worker->place);
}

void mounts_hear(struct world *world, struct sim_worker *worker,
                 const struct message_shards *shards)
{
    uint32_t k = 0;
    for (uint32_t id = shards->from; id < shards->until; id++) {
        while (k < shards->shard_count && shards->shards[k].id < id)
            k++;
        if (k == shards->shard_count || shards->shards[k].id != id) {
            worker->known_shards &= ~bit(id);
            continue;
        }
        worker->known_shards |= bit(id);
        if (!mounts_is_readable(world, worker, id))
            world_shard_fails_in(
                world, world_delay(world, TOLD_MS) + (is_damaged(world, id) ? 0 : PATIENCE_MS),
                worker->place, id);
    }
}

void mounts_complain(struct world *world, struct sim_worker *worker, uint32_t shard)
{
    struct message_shard_unreadable unreadable = {
        .shard = shard, .is_damaged = is_damaged(world, shard), .reason = "unreadable"};
    if ((worker->known_shards & bit(shard)) == 0)
        return;
    for (uint32_t id = 0; id < WORLD_SHARDS_MAX; id++)
        unreadable.open_count +=
            (worker->known_shards & bit(id)) != 0 && mounts_is_readable(world, worker, id);
    crew_handle(world, worker->place,
                &(struct member_event){.kind = MEMBER_UNREADABLE, .unreadable = &unreadable});
}

/* The records of a plan that its worker has to pass over, with what it knew when the plan came. */
int mounts_is_bad(const struct world *world, const struct sim_worker *worker, uint64_t known_shards,
                  uint32_t shard, uint32_t record)
{
    return oracle_is_bad(shard, record) || (known_shards & bit(shard)) == 0 ||
           !mounts_is_readable(world, worker, shard);
}

int mounts_must_wait(const struct world *world, struct sim_worker *worker,
                     const struct message_plan *plan)
{
    for (uint32_t i = 0; i < plan->record_count && world->bug != BUG_OWN_WORD; i++) {
        uint32_t shard = plan->shards[i];
        if ((worker->known_shards & bit(shard)) == 0 || mounts_is_readable(world, worker, shard))
            continue;
        if (worker->suspect_until < world->now + PATIENCE_MS)
            worker->suspect_until = world->now + PATIENCE_MS;
        return 1;
    }
    return 0;
}
