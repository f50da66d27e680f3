/* fetch_desk.h - who of the loaders is asked for which record, and what they answer.
 *
 * The state of shard_client.h and all that is decided about it, turn by turn. Connections are used
 * by the client's thread alone; everything else is under the client's lock, which is held for every
 * call. Nothing blocks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_FETCH_DESK_H
#define LOADER_FETCH_DESK_H

#include "loader/fetch.h"
#include "loader/holders.h"
#include "loader/loader_peer.h"

struct connection {
    struct loader_peer peer;
    struct fetch_list asked;
    uint32_t dropped_count; /* of those */
    int64_t start_ms;       /* of the client, or of the last try */
    int64_t again_ms;       /* closed by us: opened again then; 0: it is open */
    int is_refused;         /* since it was there last */
    int is_noted, is_note;  /* told as present; a note is due */
    char words[160];        /* of the note */
};

struct fetch_desk {
    struct holders holders;
    struct connection connections[HOLDERS_MAX]; /* [holders.count] */
    struct fetch_list wanted;
    int is_new;     /* somebody may be asked for what is wanted who could not before */
    int is_changed; /* what loaders hold has changed; nobody was told yet */
    int is_settled; /* some fetch is; nobody was told yet */
};

/* What is given is borrowed; key as in shard_client_setup. */
void fetch_desk_init(struct fetch_desk *desk, const struct loader_address *addresses, int count,
                     const struct key *key, const char *worker);
/* All fetches must have been let go. */
void fetch_desk_done(struct fetch_desk *desk);

/* Of the client's thread, in every turn: */
void fetch_desk_see_connection(struct fetch_desk *desk, int loader);
/* A message of this loader. ERR_PROTOCOL: to be hung up on. */
enum status fetch_desk_hear(struct fetch_desk *desk, int loader,
                            const struct loader_message *message);
/* Ends the connection; it is made anew after CLIENT_AGAIN_MS. What it was asked for is wanted. */
void fetch_desk_hang_up(struct fetch_desk *desk, int loader, const char *why);
/* Ends and makes connections that it is time for; then asks, urges, forgets and grants. */
void fetch_desk_speak(struct fetch_desk *desk);

/* Of any thread: */
struct fetch *fetch_desk_want(struct fetch_desk *desk, const struct planned_shard *shard,
                              uint32_t record);
int fetch_is_settled(const struct fetch *fetch);
/* Somebody waits for it now. Returns whether there is something to say for it. */
int fetch_desk_make_urgent(struct fetch_desk *desk, struct fetch *fetch);
/* Nobody else knows it any more. Returns whether there is something to say for it. */
int fetch_desk_let_go(struct fetch_desk *desk, struct fetch *fetch);

#endif
