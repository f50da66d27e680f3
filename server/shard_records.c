/* shard_records.c - shards as the journal and the workers know them. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/shard_records.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "server/admission.h"
#include "server/boundary.h"
#include "server/formation.h"
#include "server/round.h"

/* ---- what workers are told ---- */

/* Of the ids in [from, until) exactly these are needed. */
static void send_range(struct coordinator *c, const struct worker *worker, uint32_t from,
                       uint32_t until)
{
    const uint32_t count = until > from ? until - from : 0;
    struct message_shard *shards =
        mem_array(count < CORE_SHARDS_IN_MESSAGE ? count : CORE_SHARDS_IN_MESSAGE, sizeof(*shards));
    while (from < until) {
        struct message message = {.kind = MESSAGE_SHARDS,
                                  .shards = {.from = from, .shards = shards}};
        for (; from < until && message.shards.shard_count < CORE_SHARDS_IN_MESSAGE; from++) {
            if (c->shards[from].is_closed)
                continue;
            shards[message.shards.shard_count++] = (struct message_shard){
                .id = from,
                .path = c->shards[from].path,
                .records = stream_shard_records(c->stream, from),
                .content_hash = c->shards[from].content_hash,
            };
        }
        message.shards.until = from;
        core_send(c, worker, &message);
    }
    mem_free(shards);
}

void shard_records_send(struct coordinator *c, const struct worker *worker, uint32_t from)
{
    send_range(c, worker, from, stream_shard_count(c->stream));
}

static void send_to_all(struct coordinator *c, uint32_t from, uint32_t until)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        send_range(c, &c->roster.workers[i], from, until);
}

/* ---- found ---- */

static void note_shard(struct coordinator *c, uint32_t id, const char *path, uint64_t content_hash)
{
    c->shards = mem_resize(c->shards, (id + 1) * sizeof(*c->shards));
    c->shards[id] = (struct core_shard){.path = mem_string(path), .content_hash = content_hash};
    c->last_found = id;
}

int shard_records_find(struct coordinator *c, const char *path, uint32_t *ret_id)
{
    const uint32_t count = stream_shard_count(c->stream);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t id = (c->last_found + i) % count;
        if (strcmp(c->shards[id].path, path) != 0)
            continue;
        *ret_id = c->last_found = id;
        return 1;
    }
    return 0;
}

/* Journals of before have no hashes: whoever connects from now on is told. */
static void found_again(struct coordinator *c, uint32_t id, uint64_t content_hash)
{
    struct core_shard *shard = &c->shards[id];
    if (shard->content_hash == 0)
        shard->content_hash = content_hash;
    if (content_hash != 0 && content_hash != shard->content_hash &&
        !stream_is_retired(c->stream, id))
        actions_event(
            c->out, "shard_replaced", 1,
            "shard=%u path=%s hash=%016llx expected=%016llx reason=\"another shard lies at "
            "its path, and no worker reads it: bring the first one back, or ingest what is new "
            "into a shard of its own\"",
            id, shard->path, (unsigned long long)content_hash,
            (unsigned long long)shard->content_hash);
}

void shard_records_found(struct coordinator *c, const char *path, uint64_t records,
                         uint64_t content_hash)
{
    uint32_t id = 0;
    if (shard_records_find(c, path, &id)) {
        found_again(c, id, content_hash);
        return;
    }
    if (stream_add_shard(c->stream, records, &id) != OK) {
        actions_event(c->out, "shard_refused", 1, "path=%s reason=\"%s\"", path, fail_message());
        return;
    }
    note_shard(c, id, path, content_hash);
    struct journal_record record = {
        .kind = JOURNAL_SHARD,
        .shard = {.id = id,
                  .records = records,
                  .path = c->shards[id].path,
                  .content_hash = content_hash},
    };
    core_journal(c, &record);
    actions_event(c->out, "shard_added", 0, "shard=%u records=%llu path=%s", id,
                  (unsigned long long)records, path);
    send_to_all(c, id, id + 1);
}

enum status shard_records_restore(struct coordinator *c, const struct journal_shard *shard)
{
    uint32_t id;
    TRY(stream_add_shard(c->stream, shard->records, &id));
    if (id != shard->id)
        return fail(ERR_CORRUPT, "journal: shard %u follows %u others", shard->id, id);
    note_shard(c, id, shard->path, shard->content_hash);
    return OK;
}

void shard_records_done(struct coordinator *c)
{
    for (uint32_t i = 0; i < stream_shard_count(c->stream); i++)
        mem_free(c->shards[i].path);
    mem_free(c->shards);
    mem_free(c->complaints);
}

/* ---- retired ---- */

static enum status find_shard(const struct coordinator *c, const char *word, uint32_t *ret_shard)
{
    uint32_t count = stream_shard_count(c->stream);
    char *end;
    unsigned long number = strtoul(word, &end, 10);
    int is_number = word[0] >= '0' && word[0] <= '9' && *end == 0;
    for (uint32_t i = 0; i < count; i++) {
        if (is_number ? i != number : strcmp(c->shards[i].path, word) != 0)
            continue;
        *ret_shard = i;
        return OK;
    }
    return fail(ERR_INPUT, "no shard '%.200s': see seer stream ls", word);
}

static void journal_retirement(struct coordinator *c, uint32_t shard, int is_broken)
{
    struct journal_record record = {.kind = JOURNAL_RETIRE,
                                    .retire = {.shard = shard, .is_broken = is_broken}};
    stream_retire_shard(c->stream, shard);
    core_journal(c, &record);
    round_revise(c); /* now: a server that starts again knows less well what is planned */
}

void shard_records_take_out(struct coordinator *c, uint32_t shard, const char *reason)
{
    journal_retirement(c, shard, 0);
    actions_event(c->out, "shard_retired", 0, "shard=%u path=%s reason=\"%s\"", shard,
                  c->shards[shard].path, reason);
}

enum status shard_records_retire(struct coordinator *c, const char *word, const char *reason)
{
    uint32_t shard = 0;
    TRY(find_shard(c, word, &shard));
    if (stream_is_retired(c->stream, shard))
        return OK;
    shard_records_take_out(c, shard, reason);
    shard_records_release(c);
    return OK;
}

enum status shard_records_restore_retired(struct coordinator *c,
                                          const struct journal_retire *retire)
{
    if (retire->shard >= stream_shard_count(c->stream))
        return fail(ERR_CORRUPT, "journal: unknown shard %u retires", retire->shard);
    stream_retire_shard(c->stream, retire->shard);
    if (retire->is_broken)
        c->shards[retire->shard].is_broken = c->shards[retire->shard].is_closed = 1;
    return OK;
}

/* ---- closed ---- */

/* Whoever rolls back goes to the oldest snapshot at most. */
int shard_records_is_needed(const struct coordinator *c, uint32_t id)
{
    uint64_t oldest = boundary_oldest_step(c) * c->batch_images;
    if (c->shards[id].is_broken)
        return 0;
    return !stream_is_retired(c->stream, id) || stream_uses_shard(c->stream, id, oldest);
}

static int may_close(const struct coordinator *c, uint32_t id)
{
    return !c->shards[id].is_closed && stream_is_retired(c->stream, id) &&
           !shard_records_is_needed(c, id);
}

void shard_records_start(struct coordinator *c)
{
    for (uint32_t id = 0; id < stream_shard_count(c->stream); id++)
        c->shards[id].is_closed |= may_close(c, id);
}

void shard_records_release(struct coordinator *c)
{
    for (uint32_t id = 0; id < stream_shard_count(c->stream); id++) {
        if (!may_close(c, id))
            continue;
        c->shards[id].is_closed = 1;
        actions_event(c->out, "shard_closed", 0, "shard=%u path=%s", id, c->shards[id].path);
        send_to_all(c, id, id + 1);
    }
}

void shard_records_reopen(struct coordinator *c)
{
    for (uint32_t id = 0; id < stream_shard_count(c->stream); id++) {
        if (!c->shards[id].is_closed || !shard_records_is_needed(c, id))
            continue;
        c->shards[id].is_closed = 0;
        send_to_all(c, id, id + 1);
    }
}

/* ---- broken ---- */

static void drop_complaints(struct coordinator *c, uint64_t worker, uint32_t shard, int by_worker)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < c->complaint_count; i++) {
        const struct core_complaint *complaint = &c->complaints[i];
        if (by_worker ? complaint->worker != worker : complaint->shard != shard)
            c->complaints[kept++] = *complaint;
    }
    c->complaint_count = kept;
}

void shard_records_forget_worker(struct coordinator *c, uint64_t worker)
{
    drop_complaints(c, worker, 0, 1);
}

/* May somebody hold a plan with a record of it? */
static int is_planned(const struct coordinator *c, uint32_t shard)
{
    uint64_t end = (c->horizon > c->step ? c->horizon : c->step) * c->batch_images;
    if (end > stream_end(c->stream))
        end = stream_end(c->stream);
    for (uint64_t position = c->step * c->batch_images; position < end; position++)
        if (stream_find(c->stream, position).shard == shard)
            return 1;
    return 0;
}

/* The same step has the same bad records whoever computes it: who holds a plan of before begins
 * anew. */
static void void_plans(struct coordinator *c, uint32_t shard)
{
    char text[64];
    snprintf(text, sizeof(text), "shard %u is broken", shard);
    if (c->state == RUN_RECOVERING)
        c->is_void = 1;
    else if (c->state == RUN_FORMING || c->state == RUN_TRAINING || c->state == RUN_STARVED ||
             c->state == RUN_PAUSED)
        formation_end(c, text, 0);
}

static void break_shard(struct coordinator *c, uint32_t shard, const char *worker,
                        const char *reason)
{
    int has_plans = is_planned(c, shard);
    c->shards[shard].is_broken = c->shards[shard].is_closed = 1;
    journal_retirement(c, shard, 1);
    actions_event(c->out, "shard_broken", 1,
                  "shard=%u path=%s worker=%s step=%llu reason=\"%s\" action=\"the stream goes on "
                  "without it; ingest its images again\"",
                  shard, c->shards[shard].path, worker, (unsigned long long)c->step, reason);
    drop_complaints(c, 0, shard, 0);
    send_to_all(c, shard, shard + 1);
    if (has_plans)
        void_plans(c, shard);
}

static struct core_complaint *find_complaint(struct coordinator *c, uint64_t worker, uint32_t shard)
{
    for (uint32_t i = 0; i < c->complaint_count; i++)
        if (c->complaints[i].worker == worker && c->complaints[i].shard == shard)
            return &c->complaints[i];
    return NULL;
}

static int is_unreadable_for_all(struct coordinator *c, uint32_t shard)
{
    for (uint32_t i = 0; i < c->roster.count; i++)
        if (find_complaint(c, c->roster.workers[i].id, shard) == NULL)
            return 0;
    return 1;
}

/* 0: it has more to say than is kept. */
static int note_complaint(struct coordinator *c, const struct worker *worker,
                          const struct message_shard_unreadable *unreadable)
{
    if (find_complaint(c, worker->id, unreadable->shard) != NULL)
        return 1;
    if (c->complaint_count == CORE_COMPLAINTS)
        return 0;
    const uint32_t count = c->complaint_count;
    if ((count & (count - 1)) == 0) /* room doubles at powers of two */
        c->complaints = mem_resize(c->complaints,
                                   (count == 0 ? 1 : 2 * (size_t)count) * sizeof(*c->complaints));
    struct core_complaint *complaint = &c->complaints[c->complaint_count++];
    *complaint = (struct core_complaint){
        .worker = worker->id, .shard = unreadable->shard, .since_ms = c->now_ms};
    snprintf(complaint->reason, sizeof(complaint->reason), "%s",
             unreadable->reason != NULL ? unreadable->reason : "");
    return 1;
}

/* Others read what it does not. */
static void send_away(struct coordinator *c, struct worker *worker, uint32_t shard,
                      const char *reason)
{
    char text[CORE_REASON_BYTES + 128];
    actions_event(c->out, "worker_blind", 1, "worker=%s host=%s shard=%u path=%s reason=\"%s\"",
                  worker->name, worker->host, shard, c->shards[shard].path, reason);
    snprintf(text, sizeof(text), "cannot read what others can; is the store mounted on %s? %s",
             worker->host, reason);
    admission_replace(c, worker, text);
}

void shard_records_unreadable(struct coordinator *c, struct worker *worker,
                              const struct message_shard_unreadable *unreadable)
{
    uint32_t shard = unreadable->shard;
    const char *reason = unreadable->reason != NULL ? unreadable->reason : "";
    if (shard >= stream_shard_count(c->stream))
        return;
    if (c->shards[shard].is_closed)
        send_range(c, worker, shard, shard + 1); /* it has not heard of that yet */
    else if (unreadable->is_damaged)
        break_shard(c, shard, worker->name, reason);
    else if (unreadable->open_count == 0 || !note_complaint(c, worker, unreadable))
        send_away(c, worker, shard, reason);
    else if (is_unreadable_for_all(c, shard))
        break_shard(c, shard, worker->name, reason);
}

void shard_records_check(struct coordinator *c)
{
    for (uint32_t i = 0; i < c->complaint_count; i++) {
        const struct core_complaint complaint = c->complaints[i];
        struct worker *worker = roster_find(&c->roster, complaint.worker);
        if (worker == NULL)
            continue;
        if (is_unreadable_for_all(c, complaint.shard))
            break_shard(c, complaint.shard, worker->name, complaint.reason);
        else if (c->now_ms - complaint.since_ms > CORE_SHARD_JURY_MS)
            send_away(c, worker, complaint.shard, complaint.reason);
        else
            continue;
        return; /* the list is another one now; the rest with the next tick */
    }
}
