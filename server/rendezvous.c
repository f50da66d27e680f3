/* rendezvous.c - from rank 0 to all others. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/rendezvous.h"

#include <string.h>

void rendezvous_tell(struct coordinator *c, const struct worker *worker, uint64_t generation,
                     uint64_t nonce, const struct core_rendezvous *rendezvous)
{
    struct core_rendezvous copy = *rendezvous;
    const struct message message = {
        .kind = MESSAGE_RENDEZVOUS,
        .header = {.generation = generation, .step = c->step},
        .rendezvous = {.nonce = nonce, .length = copy.length, .id = copy.id},
    };
    if (copy.length > 0)
        core_send(c, worker, &message);
}

/* The place where the id is kept that this worker may give; NULL: it may give none. */
static struct core_rendezvous *place_of(struct coordinator *c, const struct worker *worker,
                                        const struct message *message)
{
    const uint64_t generation = message->header.generation;
    if (message->header.epoch != c->epoch)
        return NULL;
    if (c->state == RUN_FORMING && generation == c->generation && worker->rank == 0 &&
        message->rendezvous.nonce == c->group.nonce)
        return &c->group.rendezvous;
    if (c->next.state == NEXT_PREPARING && generation == c->next.generation &&
        worker->next_rank == 0 && message->rendezvous.nonce == c->next.nonce)
        return &c->next.rendezvous;
    return NULL;
}

void rendezvous_note(struct coordinator *c, struct worker *worker, const struct message *message)
{
    const struct message_rendezvous *said = &message->rendezvous;
    struct core_rendezvous *place = place_of(c, worker, message);
    if (place == NULL || said->length == 0 || said->length > sizeof(place->id)) {
        c->stale[message->header.epoch != c->epoch ? STALE_EPOCH : STALE_GENERATION]++;
        return;
    }
    const int is_next = place == &c->next.rendezvous;
    const int is_known =
        place->length == said->length && memcmp(place->id, said->id, said->length) == 0;
    if (is_known)
        return; /* said again after a reconnection */
    place->length = said->length;
    memcpy(place->id, said->id, said->length);
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *member = &c->roster.workers[i];
        if ((is_next ? member->next_rank : member->rank) > 0)
            rendezvous_tell(c, member, message->header.generation, said->nonce, place);
    }
}
