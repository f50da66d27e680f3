/* core.c - what every part of the coordinator needs: sending, journaling, judging who holds what.
 */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/core.h"

#include <stdio.h>

#include "common/check.h"
#include "common/mem.h"
#include "common/random.h"
#include "server/journal_codec.h"

void core_set_state(struct coordinator *c, enum run_state state)
{
    if (c->state == state)
        return;
    c->state = state;
    c->state_ms = c->now_ms;
}

void core_send(struct coordinator *c, const struct worker *worker, const struct message *message)
{
    if (worker->connection != 0)
        core_send_to(c, worker->connection, worker->id, message);
}

void core_send_to(struct coordinator *c, uint64_t connection, uint64_t worker,
                  const struct message *message)
{
    struct action *action = actions_push(c->out, ACTION_SEND);
    action->send.connection = connection;
    message_copy(message, &action->send.message);
    action->send.message.header = (struct message_header){
        .run = c->run,
        .epoch = c->epoch,
        .lineage = c->lineage,
        .generation = message->header.generation,
        .step = message->header.step,
        .attempt = c->attempt,
        .worker = worker,
        .sequence = ++c->sequence,
    };
}

int core_refuses(struct coordinator *c, const struct message_header *header)
{
    int has_ended = c->world_size == 0 && c->state != RUN_RECOVERING;
    enum stale_kind kind = STALE_KIND_COUNT;
    if (header->epoch != c->epoch)
        kind = STALE_EPOCH;
    else if (header->lineage != c->lineage)
        kind = STALE_LINEAGE;
    else if (header->generation != c->generation || has_ended)
        kind = STALE_GENERATION;
    else if (header->step != c->step)
        kind = STALE_STEP;
    if (kind == STALE_KIND_COUNT)
        return 0;
    c->stale[kind]++;
    return 1;
}

void core_journal(struct coordinator *c, const struct journal_record *record)
{
    journal_record_copy(record, &actions_push(c->out, ACTION_JOURNAL)->record);
}

uint64_t core_nonce(struct coordinator *c)
{
    struct random random;
    random_init(&random, c->entropy, RANDOM_STREAM_NONCE, c->nonces++, 0);
    return random_u64(&random);
}

void core_note_member(struct coordinator *c, uint32_t rank, const struct journal_member *member)
{
    struct core_member *noted = &c->members[rank];
    *noted =
        (struct core_member){.worker = member->worker, .boot = member->boot, .pid = member->pid};
    snprintf(noted->name, sizeof(noted->name), "%s", member->name);
}

struct message_verdict core_last_verdict(const struct coordinator *c)
{
    return (struct message_verdict){.is_commit = c->last.is_commit,
                                    .lr = c->last.lr,
                                    .record_length = (uint32_t)c->last_record.length,
                                    .record = c->last_record.bytes};
}

void core_keep_last(struct coordinator *c, const struct journal_step *step)
{
    const struct journal_record record = {.kind = JOURNAL_STEP, .step = *step};
    buf_clear(&c->last_record);
    if (journal_record_may_lag(&record))
        CHECK(journal_encode(&record, &c->last_record) == OK);
    c->last = *step;
    c->last.skips = NULL;
    c->last.skip_count = 0;
    c->has_last = 1;
}

int core_awaits_verdict(const struct coordinator *c, const struct worker *worker)
{
    return worker->has_state && worker->lineage == c->lineage && c->has_last &&
           worker->step + 1 == c->step && worker->is_prepared &&
           worker->prepared_generation == c->last.generation && c->last.lineage == c->lineage;
}

int core_is_holder(const struct coordinator *c, const struct worker *worker)
{
    return (worker->has_state && worker->lineage == c->lineage && worker->step == c->step) ||
           core_awaits_verdict(c, worker);
}

int core_is_member(const struct worker *worker)
{
    return worker->rank >= 0;
}

int core_is_covered(const struct coordinator *c, int (*is_chosen)(const struct worker *worker))
{
    const struct slice_holding all = {0, 1};
    struct slice_holding *holdings = mem_array(c->roster.count, sizeof(*holdings));
    uint32_t count = 0;
    for (uint32_t i = 0; i < c->roster.count; i++) {
        const struct worker *worker = &c->roster.workers[i];
        if (is_chosen(worker) && core_is_holder(c, worker))
            holdings[count++] = c->config->optimizer.sharded ? worker->slices : all;
    }
    const uint32_t cut = slice_find_cut(holdings, count);
    mem_free(holdings);
    return cut > 0;
}

void core_note_slices(struct worker *worker, uint32_t rank, uint32_t count)
{
    worker->slices = (struct slice_holding){rank, count > 0 ? count : 1};
}
