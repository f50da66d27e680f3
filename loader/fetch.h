/* fetch.h - one record that is wanted from a loader, and lists of them.
 *
 * A fetch is in one list at a time: of those wanted, or of those asked of one loader. Settled ones
 * are in none. shard_client.h guards them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef LOADER_FETCH_H
#define LOADER_FETCH_H

#include <stdint.h>

#include "common/status.h"
#include "loader/holders.h"
#include "proto/loader_message.h"

enum fetch_state {
    FETCH_WANTED,
    FETCH_ASKED,  /* of `loader` */
    FETCH_HERE,   /* settled: its bytes are complete and match their digest */
    FETCH_BAD,    /* settled: whoever holds the shard cannot read this record of it; reason */
    FETCH_NOBODY, /* settled for now: nobody is there to be asked */
};

struct fetch_list {
    struct fetch *first, *last;
};

struct fetch {
    struct fetch *next, *previous;
    struct planned_shard shard; /* its name is borrowed for the fetch's life */
    uint32_t record;
    enum fetch_state state;
    int loader;        /* whom it was asked of, or came from */
    uint64_t request;  /* at that loader */
    uint32_t tried;    /* bit i: loader i says that the record is bad */
    int is_urgent;     /* a thread waits for it */
    int is_urged;      /* and its loader knows */
    int is_dropped;    /* nobody else knows it any more; its loader is to be told */
    int64_t urgent_ms; /* clock_ms since when, or of its last part */
    uint8_t *bytes;    /* [total] once a part has come; owned */
    uint32_t total, received;
    uint64_t digest;
    char reason[128];
};

/* At the end, or at the front. */
void fetch_list_push(struct fetch_list *list, struct fetch *fetch);
void fetch_list_push_front(struct fetch_list *list, struct fetch *fetch);
void fetch_list_remove(struct fetch_list *list, struct fetch *fetch);
/* NULL: it is not there. From the front: answers come in order, mostly. */
struct fetch *fetch_list_find(const struct fetch_list *list, uint64_t request);

/* Takes in what a loader sent of it. ERR_PROTOCOL: it does not continue what came before, or does
 * not match its digest at the end. Settles it (FETCH_HERE) with the last part. */
enum status fetch_take(struct fetch *fetch, const struct loader_part *part);
/* Forgets what came of it, so that it can be asked for again. */
void fetch_reset(struct fetch *fetch);
void fetch_destroy(struct fetch *fetch);

#endif
