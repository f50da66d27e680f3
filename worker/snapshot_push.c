/* snapshot_push.c - a window of unacknowledged parts. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/snapshot_push.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/hash.h"
#include "common/log.h"
#include "common/mem.h"

enum {
    FLYING_MAX = 4, /* parts on their way: bounds memory in server and sockets */
};

enum part_state { PART_WAITING, PART_FLYING, PART_ACKNOWLEDGED };

void snapshot_push_done(struct snapshot_push *push)
{
    snapshot_share_destroy(push->share);
    mem_free(push->states);
    *push = (struct snapshot_push){0};
}

void snapshot_push_start(struct snapshot_push *push, struct snapshot_share **share)
{
    snapshot_push_done(push);
    push->share = *share;
    *share = NULL;
    push->part_count = push->share->part_count;
    push->states = mem_zero(push->part_count);
    if (push->part_count == 0)
        snapshot_push_done(push); /* more members than pages */
}

static int compare_offsets(const void *key, const void *element)
{
    const uint64_t offset = *(const uint64_t *)key;
    const struct snapshot_part *part = element;
    return (offset > part->offset) - (offset < part->offset);
}

/* The number of the part that begins there; part_count: none does. */
static uint32_t find_part(const struct snapshot_push *push, uint64_t offset)
{
    const struct snapshot_part *parts = push->share->parts;
    const struct snapshot_part *found =
        bsearch(&offset, parts, push->part_count, sizeof(*parts), compare_offsets);
    return found == NULL ? push->part_count : (uint32_t)(found - parts);
}

int snapshot_push_next(struct snapshot_push *push, struct message_snapshot_part *ret_part)
{
    if (push->share == NULL || push->flying_count == FLYING_MAX)
        return 0;
    const uint8_t *found = memchr(push->states, PART_WAITING, push->part_count);
    if (found == NULL)
        return 0;
    uint32_t part = (uint32_t)(found - push->states);
    push->states[part] = PART_FLYING;
    push->flying_count++;
    const struct snapshot_part *place = &push->share->parts[part];
    *ret_part = (struct message_snapshot_part){
        .name = push->share->name,
        .offset = place->offset,
        .total = push->share->total,
        .length = place->length,
        .data = push->share->bytes + place->at,
    };
    ret_part->checksum = hash_bytes(ret_part->data, ret_part->length);
    return 1;
}

void snapshot_push_put_back(struct snapshot_push *push, const struct message_snapshot_part *part)
{
    push->states[find_part(push, part->offset)] = PART_WAITING;
    push->flying_count--;
}

void snapshot_push_acknowledge(struct snapshot_push *push, const struct message *message)
{
    const struct message_snapshot_ack *acknowledged = &message->snapshot_ack;
    const struct snapshot_share *share = push->share;
    if (share == NULL || strcmp(share->name, acknowledged->name) != 0 ||
        message->header.step != share->step || message->header.lineage != share->lineage)
        return;
    const uint32_t part = find_part(push, acknowledged->offset);
    if (part >= push->part_count || push->states[part] != PART_FLYING)
        return;
    push->states[part] = PART_ACKNOWLEDGED;
    push->flying_count--;
    if (++push->acknowledged_count == push->part_count)
        snapshot_push_done(push);
}

void snapshot_push_drop(struct snapshot_push *push, const char *reason)
{
    if (push->share != NULL)
        log_warn("event=share_dropped snapshot=%s step=%" PRIu64
                 " parts=%u acknowledged=%u reason=\"%s\"",
                 push->share->name, push->share->step, push->part_count, push->acknowledged_count,
                 reason);
    snapshot_push_done(push);
}

void snapshot_push_again(struct snapshot_push *push)
{
    for (uint32_t part = 0; part < push->part_count; part++)
        if (push->states[part] == PART_FLYING)
            push->states[part] = PART_WAITING;
    push->flying_count = 0;
}
