/* agenda.h - what is yet to happen in a world, and when. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_SIM_AGENDA_H
#define TESTS_SIM_AGENDA_H

#include "tests/sim/world.h"

enum happening_kind {
    TO_SERVER,
    TO_WORKER,
    JOB_END,
    PREPARATION_END,
    SERVER_TICK,
    SERVER_START,
    WORKER_TICK,
    RECONNECT,
    SUPERVISE,
    PROCESS_DIED,
    SNAPSHOT_DONE,
    SNAPSHOT_LATE,
    SHARD_FAILS,
    FAULT,
};

struct happening {
    int64_t time;
    enum happening_kind kind;
    int place;
    uint64_t connection; /* or the worker's id, or the server's life: void if that is over */
    uint64_t number;
    int flag;
    struct message message;
};

/* Takes over what the happening points to. */
void agenda_push(struct world *world, const struct happening *happening);
void agenda_after(struct world *world, int64_t ms, enum happening_kind kind, int place,
                  uint64_t connection, uint64_t number);
/* A message: in order on each connection, but late, and now and then once more, much later. */
void agenda_transmit(struct world *world, int place, int is_to_server,
                     const struct message *message);
int64_t agenda_next_ms(const struct world *world); /* INT64_MAX: nothing will happen any more */
/* The next one; the caller frees it. There must be one. */
struct happening *agenda_pop(struct world *world);
void agenda_done(struct world *world);

#endif
