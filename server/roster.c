/* roster.c - the list of workers and the judgement of their silence. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/roster.h"

#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/mem.h"

void roster_init(struct roster *roster)
{
    *roster = (struct roster){0};
}

void roster_done(struct roster *roster)
{
    mem_free(roster->workers);
    *roster = (struct roster){0};
}

struct worker *roster_find(struct roster *roster, uint64_t id)
{
    uint32_t *guess = &roster->id_guess[id % ROSTER_MAX];
    if (*guess < roster->count && roster->workers[*guess].id == id)
        return &roster->workers[*guess];
    for (uint32_t i = 0; i < roster->count; i++)
        if (roster->workers[i].id == id) {
            *guess = i;
            return &roster->workers[i];
        }
    return NULL;
}

struct worker *roster_find_name(struct roster *roster, const char *name)
{
    for (uint32_t i = 0; i < roster->count; i++)
        if (strcmp(roster->workers[i].name, name) == 0)
            return &roster->workers[i];
    return NULL;
}

static void copy_text(char *to, size_t bytes, const char *from)
{
    snprintf(to, bytes, "%s", from != NULL ? from : "");
}

/* The wanted name, or with the first free -2, -3, ... behind it. */
static void choose_name(struct roster *roster, const char *wanted, char *ret_name)
{
    char base[ROSTER_NAME_BYTES - 16];
    copy_text(base, sizeof(base), wanted != NULL && wanted[0] != 0 ? wanted : "worker");
    copy_text(ret_name, ROSTER_NAME_BYTES, base);
    for (int number = 2; roster_find_name(roster, ret_name) != NULL; number++)
        snprintf(ret_name, ROSTER_NAME_BYTES, "%s-%d", base, number);
}

struct worker *roster_add(struct roster *roster, uint64_t id, const struct message_hello *hello)
{
    if (roster->count == ROSTER_MAX)
        return NULL;
    char name[ROSTER_NAME_BYTES];
    choose_name(roster, hello->name, name);
    if (roster->count == roster->capacity) {
        roster->capacity = roster->capacity * 2 + 16;
        roster->workers = mem_resize(roster->workers, roster->capacity * sizeof(*roster->workers));
    }
    struct worker *worker = &roster->workers[roster->count++];
    *worker = (struct worker){.id = id, .state = WORKER_PARKED, .rank = -1, .next_rank = -1};
    memcpy(worker->name, name, sizeof(name));
    copy_text(worker->host, sizeof(worker->host), hello->host);
    copy_text(worker->device, sizeof(worker->device), hello->device);
    copy_text(worker->version, sizeof(worker->version), hello->version);
    copy_text(worker->helper_address, sizeof(worker->helper_address), hello->helper_address);
    worker->boot = hello->boot;
    worker->pid = hello->pid;
    return worker;
}

void roster_remove(struct roster *roster, struct worker *worker)
{
    uint32_t index = (uint32_t)(worker - roster->workers);
    CHECK(index < roster->count);
    roster->count--;
    memmove(worker, worker + 1, (roster->count - index) * sizeof(*worker));
}

void roster_extend(struct roster *roster, int64_t gap_ms)
{
    for (uint32_t i = 0; i < roster->count; i++) {
        roster->workers[i].heard_ms += gap_ms;
        roster->workers[i].moved_ms += gap_ms;
    }
}

void roster_hear(struct worker *worker, int64_t now_ms)
{
    worker->heard_ms = now_ms;
    worker->is_forgiven = 0;
}

void roster_forgive_silence(struct roster *roster, int64_t now_ms, int64_t silent_ms)
{
    for (uint32_t i = 0; i < roster->count; i++) {
        struct worker *worker = &roster->workers[i];
        if (worker->is_forgiven)
            continue;
        worker->heard_ms =
            now_ms - worker->heard_ms < silent_ms ? now_ms : worker->heard_ms + silent_ms;
        worker->is_forgiven = 1;
    }
}

struct worker *roster_find_silent(struct roster *roster, int64_t now_ms, int64_t lost_ms)
{
    struct worker *silent = NULL;
    for (uint32_t i = 0; i < roster->count; i++) {
        struct worker *worker = &roster->workers[i];
        if (now_ms - worker->heard_ms > lost_ms &&
            (silent == NULL || worker->heard_ms < silent->heard_ms))
            silent = worker;
    }
    return silent;
}

int roster_is_silent(const struct roster *roster, int64_t now_ms, int64_t silent_ms)
{
    for (uint32_t i = 0; i < roster->count; i++)
        if (now_ms - roster->workers[i].heard_ms <= silent_ms)
            return 0;
    return roster->count > 1;
}

int roster_is_behind(const struct worker *a, const struct worker *b)
{
    if (a->heartbeat_step != b->heartbeat_step)
        return a->heartbeat_step < b->heartbeat_step;
    if (a->heartbeat_generation == b->heartbeat_generation &&
        a->heartbeat.operations != b->heartbeat.operations)
        return a->heartbeat.operations < b->heartbeat.operations;
    return a->heartbeat.phase < b->heartbeat.phase;
}

struct worker *roster_find_blamed(struct roster *roster)
{
    struct worker *blamed = NULL;
    for (uint32_t i = 0; i < roster->count; i++) {
        struct worker *worker = &roster->workers[i];
        if (worker->rank < 0 || worker->is_ready)
            continue;
        int is_worse = blamed == NULL || roster_is_behind(worker, blamed);
        if (is_worse || (!roster_is_behind(blamed, worker) && worker->moved_ms < blamed->moved_ms))
            blamed = worker;
    }
    return blamed;
}

struct worker *roster_find_rank(struct roster *roster, int rank)
{
    CHECK(rank >= 0 && rank < ROSTER_MAX);
    uint32_t *guess = &roster->rank_guess[rank];
    if (*guess < roster->count && roster->workers[*guess].rank == rank)
        return &roster->workers[*guess];
    for (uint32_t i = 0; i < roster->count; i++)
        if (roster->workers[i].rank == rank) {
            *guess = i;
            return &roster->workers[i];
        }
    return NULL;
}

struct worker *roster_find_next(struct roster *roster, int next_rank)
{
    for (uint32_t i = 0; i < roster->count; i++)
        if (roster->workers[i].next_rank == next_rank)
            return &roster->workers[i];
    return NULL;
}

const char *worker_state_name(enum worker_state state)
{
    static const char *const names[] = {
        [WORKER_PARKED] = "parked",
        [WORKER_MEMBER] = "member",
        [WORKER_DRAINING] = "draining",
    };
    return names[state];
}
