/* read_queue.h - what one worker asked a shard server for and has not got, and its credit.
 *
 * Reads are answered in order of request, as far as the worker's credit goes: it says how many
 * bytes and records it has room for, so nothing of a worker that does not keep up piles up here, in
 * the socket or over there. One that it urges, because somebody waits for it, goes first and needs
 * no credit: whatever else is on its way, the worker goes on. What an urged read takes is charged
 * all the same, so credit may be below 0. Pure. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_READ_QUEUE_H
#define LOADER_READ_QUEUE_H

#include <stdint.h>

#include "common/status.h"

enum { READ_QUEUE_MAX = 1 << 20 /* reads that wait: 40 MB */ };

struct queued_read {
    uint64_t request;
    uint32_t shard; /* the shard server's number of it */
    uint32_t record;
    uint32_t offset; /* bytes of it that are sent; it was charged before the first */
    uint8_t is_urged, is_over, is_charged;
    uint64_t digest; /* of its bytes; of the shard server */
};

struct read_queue {
    int64_t credit_bytes, credit_records;
    uint32_t first, count, capacity; /* items [first, first + count) wait or are over */
    uint32_t urged_count;            /* of those that wait */
    struct queued_read *items;       /* [capacity], sorted by request; owned */
};

void read_queue_done(struct read_queue *queue);
void read_queue_grant(struct read_queue *queue, uint64_t bytes, uint32_t records);
/* ERR_PROTOCOL: its number does not grow, or too many wait. */
enum status read_queue_add(struct read_queue *queue, uint64_t request, uint32_t shard,
                           uint32_t record);
/* Of a read that does not wait: fine. One that is under way goes on. */
void read_queue_urge(struct read_queue *queue, uint64_t request);
/* Those with numbers in [first, until). */
void read_queue_forget(struct read_queue *queue, uint64_t first, uint64_t until);
/* The one to be answered next; NULL: none waits. Valid until the queue is changed. */
struct queued_read *read_queue_next(struct read_queue *queue);
/* May a record of so many bytes be sent in answer to it now? */
int read_queue_may_send(const struct read_queue *queue, const struct queued_read *read,
                        uint32_t bytes);
/* length more bytes of its `total` were sent. */
void read_queue_sent(struct read_queue *queue, struct queued_read *read, uint32_t length,
                     uint32_t total);
/* It was answered without a record. */
void read_queue_end(struct read_queue *queue, struct queued_read *read);

#endif
