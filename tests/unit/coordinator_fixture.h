/* coordinator_fixture.h - a coordinator without a network: tests say words to it and read its
 * actions.
 *
 * Unprefixed: these are the words of the tests. Worker `id` speaks on the connection of the same
 * number; time stands still but for tick, heartbeats and await. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#ifndef TESTS_UNIT_COORDINATOR_FIXTURE_H
#define TESTS_UNIT_COORDINATOR_FIXTURE_H

#include "tests/test.h"

#include "server/coordinator.h"

struct fixture {
    struct config config;
    struct coordinator *coordinator;
    struct actions actions, journal; /* all records so far */
    int64_t now;
    uint64_t sequence;
};

#define coordinator_test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* f->coordinator, of 8 images a step in 4 slots; not started. */
void make(struct fixture *f);
/* It is started, and has a shard of 100 records. */
int setup(void **state);
int teardown(void **state);
/* f->actions are what follows from this event alone. */
void handle(struct fixture *f, struct coordinator_event event);
/* A message of worker `id`, on the connection of the same number. */
void say(struct fixture *f, uint64_t id, struct message message, uint64_t step);
void hello(struct fixture *f, uint64_t id, uint32_t protocol, uint64_t fingerprint);
void tick(struct fixture *f, int64_t ms);
/* It has rehearsed: nobody would wait for its first step. */
void warm(struct fixture *f, uint64_t id);
void vote(struct fixture *f, uint64_t id, uint64_t step, uint64_t digest, int is_finite);
/* Index of the first such action (for sends: with that message); -1 = none. */
int find(const struct fixture *f, enum action_kind kind, int detail);
/* `count` workers, formed and planned. */
void train(struct fixture *f, uint64_t count);
/* Of the first event of this kind; "" = there is none. */
const char *event_text(const struct fixture *f, const char *kind);
/* The message to this worker; NULL = there is none. */
const struct message *find_sent(const struct fixture *f, uint64_t id, enum message_kind kind);
/* Ticks until somebody is told to prepare; its generation and nonce. */
struct message await_prepare(struct fixture *f);
/* An operator's word, on connection 99; `name` is its argument. */
void order(struct fixture *f, enum coordinator_command command, const char *name);
/* Ticks until there is such an action, for so long at most; as find. */
int await(struct fixture *f, enum action_kind kind, int detail, int64_t ms);
/* What the operator is answered: there must be a reply. */
const struct message *answer(const struct fixture *f);
/* As if the server had died after the last event. */
void restart(struct fixture *f);
/* A worker trains a step, and its state is saved under this name. */
void save(struct fixture *f, uint64_t step, const char *name);

#endif
