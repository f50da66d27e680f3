/* fetch_desk.c - lists of fetches, one for each loader and one for what is to be asked. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "loader/fetch_desk.h"

#include <stdio.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "loader/shard_client.h"

enum {
    STUCK_SILENCES = 4, /* of a loader that speaks, but not of what is waited for */
};

static void note(struct fetch_desk *desk, int i, int is_there, const char *words)
{
    struct connection *connection = &desk->connections[i];
    if (connection->is_noted == is_there && (is_there || connection->start_ms == 0))
        return;
    connection->is_noted = is_there;
    connection->start_ms = 0;
    connection->is_note = 1;
    snprintf(connection->words, sizeof(connection->words), "%s", words);
}

static void take_back(struct fetch_desk *desk, struct fetch *fetch)
{
    struct connection *connection = &desk->connections[fetch->loader];
    fetch_list_remove(&connection->asked, fetch);
    desk->holders.items[fetch->loader].asked--;
    if (fetch->is_dropped) {
        connection->dropped_count--;
        fetch_destroy(fetch);
    }
}

/* Asked of a loader that will not answer: wanted again, before what was wanted later. */
static void want_again(struct fetch_desk *desk, struct fetch *fetch)
{
    struct connection *connection = &desk->connections[fetch->loader];
    int is_dropped = fetch->is_dropped;
    take_back(desk, fetch);
    if (is_dropped)
        return;
    if (fetch->bytes != NULL)
        loader_peer_use_up(&connection->peer, fetch->total);
    fetch_reset(fetch);
    fetch_list_push_front(&desk->wanted, fetch);
    desk->is_new = 1;
}

/* The connection is gone, and all that was said on it. */
static void lose(struct fetch_desk *desk, int i, const char *why)
{
    struct connection *connection = &desk->connections[i];
    struct holder *holder = &desk->holders.items[i];
    while (connection->asked.last != NULL)
        want_again(desk, connection->asked.last);
    connection->peer.is_up = 0;
    if (holder->is_present)
        note(desk, i, 0, why);
    snprintf(holder->reason, sizeof(holder->reason), "%s", why);
    holder->is_present = holder->is_whole = 0;
    inventory_done(&holder->inventory);
    desk->is_changed = desk->is_new = 1;
}

/* We end it: what is under way on it must not be taken for something later. */
void fetch_desk_hang_up(struct fetch_desk *desk, int i, const char *why)
{
    log_debug("event=loader_dropped loader=%s reason=\"%s\"", desk->holders.items[i].address, why);
    lose(desk, i, why);
    loader_peer_close(&desk->connections[i].peer);
    desk->connections[i].again_ms = clock_ms() + CLIENT_AGAIN_MS;
}

static void settle(struct fetch_desk *desk, struct fetch_list *list, struct fetch *fetch,
                   enum fetch_state state)
{
    fetch_list_remove(list, fetch);
    fetch->state = state;
    desk->is_settled = 1;
}

static enum status ask(struct fetch_desk *desk, struct fetch *fetch, int i)
{
    struct connection *connection = &desk->connections[i];
    const struct loader_shard *shard =
        inventory_find(&desk->holders.items[i].inventory, fetch->shard.name);
    TRY(loader_peer_ask(&connection->peer, shard, fetch->record, &fetch->request));
    fetch_list_remove(&desk->wanted, fetch);
    fetch_list_push(&connection->asked, fetch);
    fetch->state = FETCH_ASKED;
    fetch->loader = i;
    fetch->urgent_ms = clock_ms(); /* this one has not had its time yet */
    desk->holders.items[i].asked++;
    return OK;
}

static void assign_one(struct fetch_desk *desk, struct fetch *fetch)
{
    int i = holders_choose(&desk->holders, &fetch->shard, fetch->tried);
    if (i >= 0) {
        if (ask(desk, fetch, i) != OK)
            fetch_desk_hang_up(desk, i, fail_message());
        return;
    }
    int is_bad = fetch->tried != 0 && holders_choose(&desk->holders, &fetch->shard, 0) >= 0;
    if (is_bad)
        settle(desk, &desk->wanted, fetch, FETCH_BAD);
    else if (fetch->is_urgent)
        settle(desk, &desk->wanted, fetch, FETCH_NOBODY);
}

/* Finds somebody to ask for all that is wanted. */
static void assign(struct fetch_desk *desk)
{
    while (desk->is_new) {
        desk->is_new = 0; /* a connection that breaks meanwhile sets it */
        struct fetch *next;
        for (struct fetch *fetch = desk->wanted.first; fetch != NULL && !desk->is_new;
             fetch = next) {
            next = fetch->next;
            assign_one(desk, fetch);
        }
    }
}

/* Tells the loader of what nobody wants any more. */
static enum status forget(struct fetch_desk *desk, struct connection *connection)
{
    struct fetch *next;
    for (struct fetch *fetch = connection->asked.first;
         fetch != NULL && connection->dropped_count > 0; fetch = next) {
        next = fetch->next;
        if (!fetch->is_dropped)
            continue;
        TRY(loader_peer_forget(&connection->peer, fetch->request));
        take_back(desk, fetch);
    }
    return OK;
}

static enum status urge(struct connection *connection)
{
    for (struct fetch *fetch = connection->asked.first; fetch != NULL; fetch = fetch->next) {
        if (!fetch->is_urgent || fetch->is_urged)
            continue;
        TRY(loader_peer_urge(&connection->peer, fetch->request));
        fetch->is_urged = 1;
    }
    return OK;
}

/* Somebody waits, and this loader gives no sign of life; or of life, and none of that record. */
static int is_silent(const struct connection *connection, int64_t now_ms)
{
    for (const struct fetch *fetch = connection->asked.first; fetch != NULL; fetch = fetch->next) {
        if (!fetch->is_urgent)
            continue;
        int64_t waited_ms = now_ms - fetch->urgent_ms;
        int64_t silent_ms = now_ms - connection->peer.heard_ms;
        if ((waited_ms > CLIENT_SILENT_MS && silent_ms > CLIENT_SILENT_MS) ||
            waited_ms > CLIENT_SILENT_MS * STUCK_SILENCES)
            return 1;
    }
    return 0;
}

static void look_after(struct fetch_desk *desk, int i)
{
    struct connection *connection = &desk->connections[i];
    int64_t now_ms = clock_ms();
    if (connection->peer.is_up && is_silent(connection, now_ms))
        fetch_desk_hang_up(desk, i, "it is silent");
    if (connection->again_ms != 0 && now_ms >= connection->again_ms) {
        connection->again_ms = 0;
        if (loader_peer_open(&connection->peer) != OK)
            connection->again_ms = now_ms + CLIENT_AGAIN_MS;
    }
    if (connection->start_ms != 0 && now_ms - connection->start_ms > CLIENT_ABSENT_MS) {
        const char *reason = desk->holders.items[i].reason;
        note(desk, i, 0, reason[0] != 0 ? reason : "it has not been reached so far");
        connection->start_ms = 0;
    }
}

void fetch_desk_speak(struct fetch_desk *desk)
{
    for (int i = 0; i < desk->holders.count; i++)
        look_after(desk, i);
    assign(desk);
    for (int i = 0; i < desk->holders.count; i++) {
        struct connection *connection = &desk->connections[i];
        if (!connection->peer.is_up)
            continue;
        if (forget(desk, connection) != OK || urge(connection) != OK ||
            loader_peer_flush(&connection->peer) != OK)
            fetch_desk_hang_up(desk, i, fail_message());
    }
}

/* ---- what loaders say ---- */

static enum status hear_inventory(struct fetch_desk *desk, int i,
                                  const struct loader_inventory *said)
{
    struct holder *holder = &desk->holders.items[i];
    if (said->protocol != LOADER_PROTOCOL_VERSION)
        return fail(ERR_PROTOCOL, "it speaks version %u of the loader protocol, this worker %d",
                    said->protocol, LOADER_PROTOCOL_VERSION);
    TRY(inventory_hear(&holder->inventory, said));
    holder->is_present = holder->is_present || said->is_first;
    holder->is_whole = holder->is_whole || said->is_last;
    desk->is_changed = desk->is_new = 1;
    if (said->is_last) {
        char words[64];
        snprintf(words, sizeof(words), "it holds %u shards", holder->inventory.count);
        note(desk, i, 1, words);
    }
    return OK;
}

static enum status hear_part(struct fetch_desk *desk, int i, const struct loader_part *part)
{
    struct connection *connection = &desk->connections[i];
    struct fetch *fetch = fetch_list_find(&connection->asked, part->request);
    if (fetch != NULL && fetch->is_dropped)
        fetch = NULL;
    int is_too_much = part->offset == 0 && fetch != NULL && !fetch->is_urged &&
                      !loader_peer_has_credit(&connection->peer, part->total);
    if (is_too_much)
        return fail(ERR_PROTOCOL, "it sends more than it was granted");
    if (part->offset == 0)
        loader_peer_charge(&connection->peer, part->total, fetch != NULL);
    if (fetch == NULL)
        return OK;        /* nobody wants it any more */
    if (part->length > 0) /* it comes, be it slowly */
        fetch->urgent_ms = clock_ms();
    TRY(fetch_take(fetch, part));
    if (fetch->state == FETCH_HERE) {
        desk->holders.items[i].asked--;
        settle(desk, &connection->asked, fetch, FETCH_HERE);
    }
    return OK;
}

static enum status hear_records(struct fetch_desk *desk, int i,
                                const struct loader_records *records)
{
    for (uint32_t p = 0; p < records->part_count; p++)
        TRY(hear_part(desk, i, &records->parts[p]));
    return OK;
}

static enum status hear_refusal(struct fetch_desk *desk, int i,
                                const struct loader_refusal *refusal)
{
    if (refusal->cause == LOADER_REFUSAL_STRANGER)
        return fail(ERR_PROTOCOL, "it refuses: %s", refusal->reason);
    struct fetch *fetch = fetch_list_find(&desk->connections[i].asked, refusal->request);
    if (fetch == NULL || fetch->is_dropped)
        return OK;
    if (refusal->cause == LOADER_REFUSAL_BAD_RECORD) {
        fetch->tried |= 1U << i;
        snprintf(fetch->reason, sizeof(fetch->reason), "%s", refusal->reason);
    } else {
        inventory_remove(&desk->holders.items[i].inventory, fetch->shard.name);
        desk->is_changed = 1;
    }
    want_again(desk, fetch);
    return OK;
}

enum status fetch_desk_hear(struct fetch_desk *desk, int i, const struct loader_message *message)
{
    switch (message->kind) {
    case LOADER_INVENTORY:
        return hear_inventory(desk, i, &message->inventory);
    case LOADER_RECORDS:
        return hear_records(desk, i, &message->records);
    case LOADER_REFUSAL:
        return hear_refusal(desk, i, &message->refusal);
    default:
        return fail(ERR_PROTOCOL, "'%s' is not for a loader to say",
                    loader_message_name(message->kind));
    }
}

/* Why it is not there: there was nothing to lose, and it is tried again by itself. */
static void note_failure(struct fetch_desk *desk, int i, enum endpoint_change change)
{
    struct holder *holder = &desk->holders.items[i];
    struct connection *connection = &desk->connections[i];
    int has_key = connection->peer.address->key[0] != 0;
    const char *why = "it ends connections before they stand";
    connection->is_refused |= change == ENDPOINT_REFUSED;
    if (connection->is_refused)
        why =
            has_key ? "it does not let this key in" : "it lets in keys alone: name it ADDRESS,KEY";
    else if (has_key)
        why = "it ends connections before they stand: is KEY its own?";
    snprintf(holder->reason, sizeof(holder->reason), "%s", why);
}

void fetch_desk_see_connection(struct fetch_desk *desk, int i)
{
    struct loader_peer *peer = &desk->connections[i].peer;
    enum endpoint_change change;
    while (peer->endpoint != NULL &&
           (change = endpoint_watch_next(peer->endpoint)) != ENDPOINT_SAME) {
        if (change != ENDPOINT_UP && !peer->is_up) {
            note_failure(desk, i, change);
            continue;
        }
        lose(desk, i, change == ENDPOINT_UP ? "it has not answered yet" : "its connection ended");
        peer->is_up = change == ENDPOINT_UP;
        desk->connections[i].is_refused = 0;
        peer->heard_ms = clock_ms();
        if (peer->is_up && loader_peer_greet(peer) != OK)
            fetch_desk_hang_up(desk, i, fail_message());
    }
}

/* ---- what others want ---- */

struct fetch *fetch_desk_want(struct fetch_desk *desk, const struct planned_shard *shard,
                              uint32_t record)
{
    struct fetch *fetch = mem_zero(sizeof(*fetch));
    fetch->shard = *shard;
    fetch->record = record;
    fetch_list_push(&desk->wanted, fetch);
    desk->is_new = 1;
    return fetch;
}

int fetch_is_settled(const struct fetch *fetch)
{
    return fetch->state != FETCH_WANTED && fetch->state != FETCH_ASKED;
}

int fetch_desk_make_urgent(struct fetch_desk *desk, struct fetch *fetch)
{
    if (fetch->state == FETCH_NOBODY) { /* another try */
        fetch->state = FETCH_WANTED;
        fetch_list_push_front(&desk->wanted, fetch);
    }
    if (fetch_is_settled(fetch) || fetch->is_urgent)
        return 0;
    fetch->is_urgent = 1;
    fetch->urgent_ms = clock_ms();
    desk->is_new = 1;
    return 1;
}

int fetch_desk_let_go(struct fetch_desk *desk, struct fetch *fetch)
{
    struct connection *connection = &desk->connections[fetch->loader];
    int is_asked = fetch->state == FETCH_ASKED, is_grant_due = 0;
    if (fetch->bytes != NULL)
        is_grant_due = loader_peer_use_up(&connection->peer, fetch->total);
    if (fetch->state == FETCH_WANTED)
        fetch_list_remove(&desk->wanted, fetch);
    if (!is_asked) {
        fetch_destroy(fetch);
        return is_grant_due;
    }
    fetch_reset(fetch);
    fetch->is_dropped = 1;
    connection->dropped_count++;
    return 1;
}

void fetch_desk_init(struct fetch_desk *desk, const struct loader_address *addresses, int count,
                     const struct key *key, const char *worker)
{
    const char *endpoints[HOLDERS_MAX] = {NULL};
    CHECK(count <= HOLDERS_MAX);
    for (int i = 0; i < count; i++)
        endpoints[i] = addresses[i].endpoint;
    *desk = (struct fetch_desk){0};
    holders_init(&desk->holders, endpoints, count);
    for (int i = 0; i < count; i++) {
        loader_peer_init(&desk->connections[i].peer, &addresses[i], key, worker);
        desk->connections[i].start_ms = clock_ms();
    }
}

void fetch_desk_done(struct fetch_desk *desk)
{
    CHECK(desk->wanted.first == NULL);
    for (int i = 0; i < desk->holders.count; i++) {
        while (desk->connections[i].asked.first != NULL)
            take_back(desk, desk->connections[i].asked.first);
        loader_peer_done(&desk->connections[i].peer);
    }
    holders_done(&desk->holders);
}
