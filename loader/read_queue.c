/* read_queue.c - an array of reads whose front is taken off now and then. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/read_queue.h"

#include <string.h>

#include "common/mem.h"

enum { CREDIT_MAX = 1 << 30 /* more at once means nothing */ };

void read_queue_done(struct read_queue *queue)
{
    mem_free(queue->items);
    *queue = (struct read_queue){0};
}

static int64_t add_credit(int64_t credit, uint64_t more)
{
    credit += more < CREDIT_MAX ? (int64_t)more : CREDIT_MAX;
    return credit < CREDIT_MAX ? credit : CREDIT_MAX;
}

void read_queue_grant(struct read_queue *queue, uint64_t bytes, uint32_t records)
{
    queue->credit_bytes = add_credit(queue->credit_bytes, bytes);
    queue->credit_records = add_credit(queue->credit_records, records);
}

static void make_room(struct read_queue *queue)
{
    if (queue->first + queue->count < queue->capacity)
        return;
    if (queue->first > queue->count) { /* more than half of it is free */
        memmove(queue->items, queue->items + queue->first, queue->count * sizeof(*queue->items));
        queue->first = 0;
        return;
    }
    queue->capacity = queue->capacity * 2 + 64;
    queue->items = mem_resize(queue->items, queue->capacity * sizeof(*queue->items));
}

enum status read_queue_add(struct read_queue *queue, uint64_t request, uint32_t shard,
                           uint32_t record)
{
    if (queue->count == READ_QUEUE_MAX)
        return fail(ERR_PROTOCOL, "more than %d reads at once", READ_QUEUE_MAX);
    if (queue->count > 0 && queue->items[queue->first + queue->count - 1].request >= request)
        return fail(ERR_PROTOCOL, "request %llu comes again or too late",
                    (unsigned long long)request);
    make_room(queue);
    queue->items[queue->first + queue->count++] =
        (struct queued_read){.request = request, .shard = shard, .record = record};
    return OK;
}

/* The first place whose number is not below this one. */
static uint32_t lower_bound(const struct read_queue *queue, uint64_t request)
{
    uint32_t low = queue->first, high = queue->first + queue->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (queue->items[middle].request < request)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void read_queue_urge(struct read_queue *queue, uint64_t request)
{
    uint32_t at = lower_bound(queue, request);
    if (at == queue->first + queue->count)
        return;
    struct queued_read *read = &queue->items[at];
    if (read->request != request || read->is_over || read->is_urged)
        return;
    read->is_urged = 1;
    queue->urged_count++;
}

static void drop_front(struct read_queue *queue)
{
    while (queue->count > 0 && queue->items[queue->first].is_over) {
        queue->first++;
        queue->count--;
    }
    if (queue->count == 0)
        queue->first = 0;
}

static void end(struct read_queue *queue, struct queued_read *read)
{
    queue->urged_count -= read->is_urged;
    read->is_urged = 0;
    read->is_over = 1;
}

void read_queue_end(struct read_queue *queue, struct queued_read *read)
{
    end(queue, read);
    drop_front(queue);
}

void read_queue_forget(struct read_queue *queue, uint64_t first, uint64_t until)
{
    uint32_t at = lower_bound(queue, first);
    for (; at < queue->first + queue->count && queue->items[at].request < until; at++)
        end(queue, &queue->items[at]);
    drop_front(queue);
}

struct queued_read *read_queue_next(struct read_queue *queue)
{
    if (queue->count == 0)
        return NULL;
    struct queued_read *read = queue->items + queue->first; /* never over: drop_front */
    if (queue->urged_count == 0)
        return read;
    while (!read->is_urged)
        read++;
    return read;
}

int read_queue_may_send(const struct read_queue *queue, const struct queued_read *read,
                        uint32_t bytes)
{
    return read->is_urged || read->is_charged ||
           (queue->credit_bytes >= (int64_t)bytes && queue->credit_records > 0);
}

void read_queue_sent(struct read_queue *queue, struct queued_read *read, uint32_t length,
                     uint32_t total)
{
    if (!read->is_charged) {
        queue->credit_bytes -= total;
        queue->credit_records--;
        read->is_charged = 1;
    }
    read->offset += length;
    if (read->offset >= total)
        read_queue_end(queue, read);
}
