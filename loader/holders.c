/* holders.c - looks through a handful of inventories. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/holders.h"

#include <string.h>

#include "common/buf.h"
#include "common/check.h"
#include "common/hash.h"

enum { WORDS_BYTES = 768 };

void holders_init(struct holders *holders, const char *const *addresses, int count)
{
    CHECK(count <= HOLDERS_MAX);
    *holders = (struct holders){.count = count};
    for (int i = 0; i < count; i++) {
        holders->items[i].address = addresses[i];
        holders->items[i].key = hash_bytes(addresses[i], strlen(addresses[i]));
    }
}

void holders_done(struct holders *holders)
{
    for (int i = 0; i < holders->count; i++)
        inventory_done(&holders->items[i].inventory);
}

static int has_hash(const struct loader_shard *found, const struct planned_shard *shard)
{
    return shard->content_hash == 0 || found->content_hash == shard->content_hash;
}

static const struct loader_shard *held(const struct holder *holder,
                                       const struct planned_shard *shard)
{
    if (!holder->is_present)
        return NULL;
    const struct loader_shard *found = inventory_find(&holder->inventory, shard->name);
    int is_it = found != NULL && found->state == LOADER_SHARD_HELD &&
                found->records == shard->records && has_hash(found, shard);
    return is_it ? found : NULL;
}

/* Do those who hold it agree what it is? */
static int is_one(const struct holders *holders, const struct planned_shard *shard)
{
    const struct loader_shard *first = NULL;
    for (int i = 0; i < holders->count; i++) {
        const struct loader_shard *found = held(&holders->items[i], shard);
        if (found != NULL && first != NULL && found->content_hash != first->content_hash)
            return 0;
        if (found != NULL)
            first = found;
    }
    return 1;
}

int holders_choose(const struct holders *holders, const struct planned_shard *shard, uint32_t tried)
{
    int usual = -1, least = -1;
    uint64_t weight = 0;
    if (!is_one(holders, shard))
        return -1;
    for (int i = 0; i < holders->count; i++) {
        const struct holder *holder = &holders->items[i];
        if ((tried >> i & 1) || held(holder, shard) == NULL)
            continue;
        /* The highest of weights that are random in loader and shard (rendezvous hashing): who
         * comes or goes moves only the shards that are its own. */
        uint64_t mine = hash_bytes_seed(shard->name, strlen(shard->name), holder->key);
        if (usual < 0 || mine > weight) {
            usual = i;
            weight = mine;
        }
        if (least < 0 || holder->asked < holders->items[least].asked)
            least = i;
    }
    if (usual >= 0 && holders->items[usual].asked > holders->items[least].asked + HOLDERS_BUSIER)
        return least;
    return usual;
}

/* What this loader has to say of it. */
static void add_words(struct buf *words, const struct holder *holder,
                      const struct planned_shard *shard)
{
    const struct loader_shard *found = inventory_find(&holder->inventory, shard->name);
    const char *comma = words->length > 0 ? ", " : "";
    if (!holder->is_present)
        buf_format(words, "%s%s is away%s%s", comma, holder->address, holder->reason[0] ? ": " : "",
                   holder->reason);
    else if (found == NULL && !holder->is_whole)
        buf_format(words, "%s%s is still opening its shards", comma, holder->address);
    else if (found == NULL)
        buf_format(words, "%s%s does not hold it", comma, holder->address);
    else if (found->state == LOADER_SHARD_DAMAGED)
        buf_format(words, "%s%s cannot read it: %s", comma, holder->address, found->reason);
    else if (found->records != shard->records)
        buf_format(words, "%s%s holds another one, of %u records", comma, holder->address,
                   found->records);
    else if (!has_hash(found, shard))
        buf_format(words, "%s%s holds another one, of hash %016llx and not %016llx", comma,
                   holder->address, (unsigned long long)found->content_hash,
                   (unsigned long long)shard->content_hash);
    else
        buf_format(words, "%s%s holds one of hash %016llx", comma, holder->address,
                   (unsigned long long)found->content_hash);
}

static enum status say(enum status status, const struct holders *holders,
                       const struct planned_shard *shard, const char *remedy)
{
    struct buf words;
    buf_init(&words, WORDS_BYTES);
    for (int i = 0; i < holders->count; i++)
        add_words(&words, &holders->items[i], shard);
    fail(status, "shard '%s' of %u records is not here: %s; %s", shard->name, shard->records,
         words.bytes != NULL ? (const char *)words.bytes : "", remedy);
    buf_done(&words);
    return status;
}

enum status holders_verdict(const struct holders *holders, const struct planned_shard *shard)
{
    int is_held = 0, is_away = 0, is_damaged = 0, is_clear = is_one(holders, shard);
    for (int i = 0; i < holders->count; i++) {
        const struct holder *holder = &holders->items[i];
        const struct loader_shard *found =
            holder->is_present ? inventory_find(&holder->inventory, shard->name) : NULL;
        is_held |= held(holder, shard) != NULL;
        is_away |= !holder->is_present || !holder->is_whole;
        is_damaged |=
            found != NULL && found->state == LOADER_SHARD_DAMAGED && has_hash(found, shard);
    }
    if (is_held && is_clear)
        return OK;
    if (!is_clear)
        return say(ERR_UNREACHABLE, holders, shard,
                   "different shards have one name: take all but one of them away");
    if (is_away)
        return say(ERR_UNREACHABLE, holders, shard, "waiting for a loader that holds it");
    return say(is_damaged ? ERR_CORRUPT : ERR_INPUT, holders, shard,
               "start a seer-loader that holds it");
}
