/* member_core.c - what every part of the member needs: acting, speaking, changing parameters. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "worker/member_core.h"

#include <string.h>

#include "common/mem.h"
#include "proto/protocol.h"

void member_actions_init(struct member_actions *actions)
{
    *actions = (struct member_actions){0};
}

void member_actions_clear(struct member_actions *actions)
{
    for (uint32_t i = 0; i < actions->count; i++) {
        message_done(&actions->items[i].message);
        mem_free(actions->items[i].text);
    }
    actions->count = 0;
}

void member_actions_done(struct member_actions *actions)
{
    member_actions_clear(actions);
    mem_free(actions->items);
    *actions = (struct member_actions){0};
}

struct member_action *member_push(struct member *m, enum member_action_kind kind)
{
    struct member_actions *out = m->out;
    if (out->count == out->capacity) {
        out->capacity = out->capacity * 2 + 8;
        out->items = mem_resize(out->items, out->capacity * sizeof(*out->items));
    }
    struct member_action *action = &out->items[out->count++];
    *action = (struct member_action){.kind = kind, .step = m->step};
    return action;
}

/* header.step and header.lineage of every message of ours say what we hold. */
void member_send(struct member *m, const struct message *message, uint64_t generation)
{
    struct message *copy = &member_push(m, MEMBER_SEND)->message;
    message_copy(message, copy);
    copy->header = (struct message_header){
        .run = m->run,
        .epoch = m->epoch,
        .lineage = m->lineage,
        .generation = generation,
        .step = m->step,
        .worker = m->setup.worker,
        .sequence = ++m->sequence,
    };
}

uint64_t member_present_generation(const struct member *m)
{
    if (m->is_prepared)
        return m->prepared_generation;
    return m->is_formed ? m->generation : 0;
}

struct slice_holding member_holding(const struct member *m)
{
    return m->is_whole ? (struct slice_holding){0, 1} : m->slices;
}

void member_say_hello(struct member *m)
{
    const struct slice_holding holding = member_holding(m);
    const struct member_proof *proof = &m->proof;
    int has_proof = m->has_state && proof->step == m->step && proof->lineage == m->lineage;
    m->is_welcome = 0;
    const struct message message = {
        .kind = MESSAGE_HELLO,
        .hello =
            {
                .protocol = protocol_newest(),
                .protocol_oldest = protocol_oldest(),
                .name = m->name,
                .host = (char *)m->setup.host,
                .boot = m->setup.boot,
                .pid = m->setup.pid,
                .device = (char *)m->setup.device,
                .version = (char *)m->setup.version,
                .helper_address = (char *)m->setup.helper_address,
                .fingerprint = m->fingerprint,
                .has_state = m->has_state,
                .digest = m->digest,
                .is_ready_pending = m->is_prepared,
                .record_length = has_proof ? proof->length : 0,
                .record = proof->record,
                .slice_rank = holding.rank,
                .slice_count = holding.count,
            },
    };
    member_send(m, &message, member_present_generation(m));
}

void member_say_formed(struct member *m)
{
    const struct message message = {.kind = MESSAGE_FORMED, .formed = {.digest = m->formed_digest}};
    member_send(m, &message, m->generation);
}

void member_say_prepared(struct member *m)
{
    const struct message message = {.kind = MESSAGE_PREPARED, .prepared = {.nonce = m->next.nonce}};
    member_send(m, &message, m->next.generation);
}

void member_say_broken(struct member *m, uint64_t generation, const char *reason)
{
    const struct slice_holding holding = member_holding(m);
    const struct message message = {.kind = MESSAGE_BROKEN,
                                    .broken = {.reason = (char *)reason,
                                               .slice_rank = holding.rank,
                                               .slice_count = holding.count}};
    member_send(m, &message, generation);
}

void member_say_leave(struct member *m)
{
    const struct message message = {.kind = MESSAGE_LEAVE, .leave = {.reason = "drain"}};
    member_send(m, &message, m->generation);
}

void member_take_snapshot(struct member *m)
{
    if (m->snapshot.kind == 0 || m->snapshot.header.step > m->step)
        return;
    if (m->snapshot.header.step == m->step && m->has_state)
        message_copy(&m->snapshot, &member_push(m, MEMBER_SNAPSHOT)->message);
    message_done(&m->snapshot);
    m->snapshot = (struct message){0};
}

void member_drop_vote(struct member *m)
{
    m->is_prepared = 0;
    message_done(&m->ready);
    m->ready = (struct message){0};
}

static void keep_proof(struct member *m, const struct message_verdict *verdict)
{
    mem_free(m->proof.record);
    m->proof = (struct member_proof){.step = m->step,
                                     .lineage = m->lineage,
                                     .length = verdict->record_length,
                                     .record = mem_alloc(verdict->record_length)};
    if (verdict->record_length > 0)
        memcpy(m->proof.record, verdict->record, verdict->record_length);
}

void member_obey(struct member *m, const struct message_verdict *verdict)
{
    struct member_action *action = member_push(m, verdict->is_commit ? MEMBER_APPLY : MEMBER_SKIP);
    action->lr = verdict->lr;
    m->is_whole = 1;
    member_drop_vote(m);
    m->step++;
    m->digest = 0;
    keep_proof(m, verdict);
    member_take_snapshot(m);
}
