/* agenda.c - what is yet to happen, sorted by time: a heap; and the network, which is late. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/sim/agenda.h"

#include "common/mem.h"

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

void agenda_push(struct world *world, const struct happening *happening)
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

struct happening *agenda_pop(struct world *world)
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

void agenda_after(struct world *world, int64_t ms, enum happening_kind kind, int place,
                  uint64_t connection, uint64_t number)
{
    agenda_push(world, &(struct happening){.time = world->now + ms,
                                           .kind = kind,
                                           .place = place,
                                           .connection = connection,
                                           .number = number});
}

void agenda_transmit(struct world *world, int place, int is_to_server,
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
    agenda_push(world, &happening);
    if (world->is_calm || !world_chance(world, 0.02))
        return;
    happening.time = *link + world_delay(world, 500);
    message_copy(message, &happening.message);
    agenda_push(world, &happening);
}

int64_t agenda_next_ms(const struct world *world)
{
    return world->heap_count > 0 ? world->heap[0].time : INT64_MAX;
}

void agenda_done(struct world *world)
{
    for (uint32_t i = 0; i < world->heap_count; i++) {
        message_done(&world->heap[i].happening->message);
        mem_free(world->heap[i].happening);
    }
    mem_free(world->heap);
}
