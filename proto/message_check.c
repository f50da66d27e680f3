/* message_check.c - one function per kind that has such rules. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/message_check.h"

enum { ENGINE_MAX = 2 /* enum collective_engine */ };

/* Of a sharded momentum; count 0: all of it. */
static enum status check_slice(uint32_t slice, uint32_t count)
{
    if (count > MESSAGE_MEMBERS_MAX || (count > 0 && slice >= count))
        return fail(ERR_PROTOCOL, "slice %u of %u", slice, count);
    return OK;
}

static enum status check_heartbeat(const struct message *message)
{
    if (message->heartbeat.phase >= PHASE_COUNT)
        return fail(ERR_PROTOCOL, "phase %u is unknown", message->heartbeat.phase);
    return check_slice(message->heartbeat.slice_rank, message->heartbeat.slice_count);
}

static enum status check_regroup(const struct message *message)
{
    const struct message_regroup *regroup = &message->regroup;
    if (regroup->engine > ENGINE_MAX || regroup->source > STATE_SNAPSHOT)
        return fail(ERR_PROTOCOL, "engine %u or source %u is unknown", regroup->engine,
                    regroup->source);
    if (regroup->rank >= regroup->member_count || regroup->source_rank >= regroup->member_count)
        return fail(ERR_PROTOCOL, "rank %u or source rank %u of %u members", regroup->rank,
                    regroup->source_rank, regroup->member_count);
    return OK;
}

static enum status check_prepare(const struct message *message)
{
    const struct message_prepare *prepare = &message->prepare;
    if (prepare->engine > ENGINE_MAX)
        return fail(ERR_PROTOCOL, "engine %u is unknown", prepare->engine);
    if (prepare->rank >= prepare->member_count)
        return fail(ERR_PROTOCOL, "rank %u of %u members", prepare->rank, prepare->member_count);
    return OK;
}

static enum status check_plan(const struct message *message)
{
    const struct message_plan *plan = &message->plan;
    if ((uint64_t)plan->slot_count * plan->slot_images != plan->record_count)
        return fail(ERR_PROTOCOL, "%u slots of %u images, but %u records", plan->slot_count,
                    plan->slot_images, plan->record_count);
    for (uint32_t i = 0; i < plan->slot_count; i++)
        if (plan->slots[i].slot >= plan->slots_in_step)
            return fail(ERR_PROTOCOL, "slot %u of a step of %u", plan->slots[i].slot,
                        plan->slots_in_step);
    return OK;
}

static enum status check_shards(const struct message *message)
{
    const struct message_shards *shards = &message->shards;
    uint64_t least = shards->from; /* wide enough to go beyond the last id */
    for (uint32_t i = 0; i < shards->shard_count; i++) {
        if (shards->shards[i].id < least || shards->shards[i].id >= shards->until)
            return fail(ERR_PROTOCOL, "shard %u out of order in [%u, %u)", shards->shards[i].id,
                        shards->from, shards->until);
        least = (uint64_t)shards->shards[i].id + 1;
    }
    return OK;
}

static enum status check_snapshot_begin(const struct message *message)
{
    const struct message_snapshot_begin *begin = &message->snapshot_begin;
    if (begin->share >= begin->share_count)
        return fail(ERR_PROTOCOL, "share %u of %u", begin->share, begin->share_count);
    return check_slice(begin->slice, begin->slice_count);
}

static enum status check_snapshot_part(const struct message *message)
{
    const struct message_snapshot_part *part = &message->snapshot_part;
    if (part->length > part->total || part->offset > part->total - part->length)
        return fail(ERR_PROTOCOL, "bytes %llu+%u of %llu", (unsigned long long)part->offset,
                    part->length, (unsigned long long)part->total);
    return OK;
}

static enum status check_snapshot_read(const struct message *message)
{
    if (message->snapshot_read.length > MESSAGE_PART_BYTES)
        return fail(ERR_PROTOCOL, "a read of %u bytes, at most %u", message->snapshot_read.length,
                    (unsigned)MESSAGE_PART_BYTES);
    return OK;
}

static enum status check_reply(const struct message *message)
{
    if (message->reply.status > ERR_END)
        return fail(ERR_PROTOCOL, "status %u is unknown", message->reply.status);
    return OK;
}

enum status message_check(const struct message *message)
{
    switch (message->kind) {
    case MESSAGE_HELLO:
        return check_slice(message->hello.slice_rank, message->hello.slice_count);
    case MESSAGE_BROKEN:
        return check_slice(message->broken.slice_rank, message->broken.slice_count);
    case MESSAGE_HEARTBEAT:
        return check_heartbeat(message);
    case MESSAGE_REGROUP:
        return check_regroup(message);
    case MESSAGE_PREPARE:
        return check_prepare(message);
    case MESSAGE_PLAN:
        return check_plan(message);
    case MESSAGE_SHARDS:
        return check_shards(message);
    case MESSAGE_SNAPSHOT_BEGIN:
        return check_snapshot_begin(message);
    case MESSAGE_SNAPSHOT_PART:
    case MESSAGE_SNAPSHOT_DATA:
        return check_snapshot_part(message);
    case MESSAGE_SNAPSHOT_READ:
        return check_snapshot_read(message);
    case MESSAGE_REPLY:
        return check_reply(message);
    default:
        return OK; /* the limits say it all */
    }
}
