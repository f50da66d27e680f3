/* fuzz_loader_message.c - words from any shard server or worker: refused, or they survive the way
 * back. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/fuzz/fuzz.h"

#include <string.h>

#include "common/check.h"
#include "loader/fetch.h"
#include "loader/inventory.h"
#include "loader/read_queue.h"
#include "proto/loader_message.h"

static void encode_again(const struct loader_message *message, struct buf *out)
{
    buf_init(out, LOADER_MESSAGE_BYTES_MAX);
    CHECK(loader_message_encode(message, out) == OK);
}

/* A worker's reads, as far as a loader takes them: each is answered once. */
static void queue_reads(const struct loader_read *read)
{
    struct read_queue queue = {0};
    uint32_t count = 0;
    struct queued_read *next;
    for (uint32_t i = 0; i < read->record_count; i++)
        CHECK(read_queue_add(&queue, read->request + i, read->which[i], read->records[i]) == OK);
    if (read->record_count > 0)
        read_queue_urge(&queue, read->request + read->records[0] % read->record_count);
    read_queue_grant(&queue, read->request, read->record_count);
    while ((next = read_queue_next(&queue)) != NULL && read_queue_may_send(&queue, next, 1)) {
        read_queue_sent(&queue, next, 1, 1);
        count++;
    }
    CHECK(count <= read->record_count);
    read_queue_forget(&queue, 0, UINT64_MAX);
    CHECK(read_queue_next(&queue) == NULL);
    read_queue_done(&queue);
}

/* What a loader sends for one read: no byte is written beyond what it announced. */
static void take_parts(const struct loader_records *records)
{
    struct fetch fetch = {.shard.name = "any"};
    for (uint32_t i = 0; i < records->part_count && fetch.state != FETCH_HERE; i++)
        if (fetch_take(&fetch, &records->parts[i]) != OK)
            break;
    CHECK(fetch.received <= fetch.total);
    fetch_reset(&fetch);
}

static void use(const struct loader_message *message)
{
    struct inventory inventory = {0};
    if (message->kind == LOADER_READ)
        queue_reads(&message->read);
    if (message->kind == LOADER_RECORDS)
        take_parts(&message->records);
    if (message->kind == LOADER_INVENTORY)
        CHECK(inventory_hear(&inventory, &message->inventory) == OK);
    inventory_done(&inventory);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct loader_message message, again;
    struct buf first, second;
    if (loader_message_decode(bytes, length, &message) != OK)
        return 0;
    encode_again(&message, &first);
    CHECK(loader_message_decode(first.bytes, first.length, &again) == OK);
    encode_again(&again, &second);
    CHECK(first.length == second.length && memcmp(first.bytes, second.bytes, first.length) == 0);
    use(&message);
    loader_message_done(&message);
    loader_message_done(&again);
    buf_done(&first);
    buf_done(&second);
    return 0;
}
