/* fetch.c - links, and bytes that are put together. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/fetch.h"

#include <string.h>

#include "common/hash.h"
#include "common/mem.h"

void fetch_list_push(struct fetch_list *list, struct fetch *fetch)
{
    fetch->next = NULL;
    fetch->previous = list->last;
    if (list->last != NULL)
        list->last->next = fetch;
    else
        list->first = fetch;
    list->last = fetch;
}

void fetch_list_push_front(struct fetch_list *list, struct fetch *fetch)
{
    fetch->previous = NULL;
    fetch->next = list->first;
    if (list->first != NULL)
        list->first->previous = fetch;
    else
        list->last = fetch;
    list->first = fetch;
}

void fetch_list_remove(struct fetch_list *list, struct fetch *fetch)
{
    if (fetch->previous != NULL)
        fetch->previous->next = fetch->next;
    else
        list->first = fetch->next;
    if (fetch->next != NULL)
        fetch->next->previous = fetch->previous;
    else
        list->last = fetch->previous;
    fetch->next = fetch->previous = NULL;
}

struct fetch *fetch_list_find(const struct fetch_list *list, uint64_t request)
{
    struct fetch *fetch = list->first;
    while (fetch != NULL && fetch->request != request)
        fetch = fetch->next;
    return fetch;
}

enum status fetch_take(struct fetch *fetch, const struct loader_part *part)
{
    if (fetch->bytes == NULL && part->offset == 0) { /* what it was granted was counted then */
        fetch->bytes = mem_alloc(part->total);
        fetch->total = part->total;
        fetch->digest = part->digest;
    }
    if (part->offset != fetch->received || part->total != fetch->total ||
        part->digest != fetch->digest)
        return fail(ERR_PROTOCOL, "record %u of shard '%s': bytes %u+%u of %u after %u of %u",
                    fetch->record, fetch->shard.name, part->offset, part->length, part->total,
                    fetch->received, fetch->total);
    if (part->length > 0)
        memcpy(fetch->bytes + fetch->received, part->data, part->length);
    fetch->received += part->length;
    if (fetch->received < fetch->total)
        return OK;
    if (hash_bytes(fetch->bytes, fetch->total) != fetch->digest)
        return fail(ERR_PROTOCOL, "record %u of shard '%s' does not match its digest",
                    fetch->record, fetch->shard.name);
    fetch->state = FETCH_HERE;
    return OK;
}

void fetch_reset(struct fetch *fetch)
{
    mem_free(fetch->bytes);
    fetch->bytes = NULL;
    fetch->total = fetch->received = 0;
    fetch->is_urged = 0;
    fetch->state = FETCH_WANTED;
}

void fetch_destroy(struct fetch *fetch)
{
    mem_free(fetch->bytes);
    mem_free(fetch);
}
