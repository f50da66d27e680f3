/* message_samples.c - see message_samples.h. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "tests/test.h"

#include "common/mem.h"
#include "tests/unit/message_samples.h"

const enum message_kind message_sample_kinds[] = {
    MESSAGE_HELLO,         MESSAGE_HEARTBEAT,
    MESSAGE_FORMED,        MESSAGE_READY,
    MESSAGE_BROKEN,        MESSAGE_LEAVE,
    MESSAGE_BYE,           MESSAGE_SNAPSHOT_PART,
    MESSAGE_SNAPSHOT_READ, MESSAGE_PREPARED,
    MESSAGE_WELCOME,       MESSAGE_REJECT,
    MESSAGE_REGROUP,       MESSAGE_PREPARE,
    MESSAGE_PLAN,          MESSAGE_VERDICT,
    MESSAGE_DISMISS,       MESSAGE_SNAPSHOT_BEGIN,
    MESSAGE_SNAPSHOT_ACK,  MESSAGE_SNAPSHOT_DATA,
    MESSAGE_SHARDS,        MESSAGE_COMMAND,
    MESSAGE_REPLY,         MESSAGE_SHARD_UNREADABLE,
    MESSAGE_RENDEZVOUS,    0,
};

enum { MANY = 5 };

static uint8_t *make_bytes(void)
{
    uint8_t *bytes = mem_alloc(4);
    memcpy(bytes, "\0\1\2\3", 4);
    return bytes;
}

static void fill_hello(struct message_hello *hello)
{
    *hello = (struct message_hello){PROTOCOL_VERSION,
                                    mem_string("w1"),
                                    mem_string("host"),
                                    0xb007b007b007b007,
                                    4711,
                                    mem_string("cpu"),
                                    mem_string("0.1.0"),
                                    mem_string("@h"),
                                    0xf1f1f1f1f1f1f1f1,
                                    1,
                                    0xd1d1d1d1d1d1d1,
                                    1,
                                    4,
                                    make_bytes(),
                                    5,
                                    6,
                                    PROTOCOL_VERSION_OLDEST};
}

static void fill_ready(struct message_ready *ready)
{
    *ready = (struct message_ready){.is_finite = 1,
                                    .loss = 3.25,
                                    .grad_norm = -1e-300,
                                    .images = 17,
                                    .digest = UINT64_MAX,
                                    .parameter_digest = 1,
                                    .compute_us = -7,
                                    .unaccounted = 5,
                                    .skip_count = MANY,
                                    .skips = mem_array(MANY, sizeof(struct message_skip))};
    for (int i = 0; i < PHASE_COUNT; i++)
        ready->phase_us[i] = 1000 * i + 1;
    for (uint32_t i = 0; i < MANY; i++)
        ready->skips[i] =
            (struct message_skip){i, i + 1, i + (UINT64_C(1) << 40), mem_format("reason %u", i)};
}

static struct message_member *make_members(void)
{
    struct message_member *members = mem_array(MANY, sizeof(*members));
    for (uint32_t i = 0; i < MANY; i++)
        members[i] = (struct message_member){UINT64_MAX - i, mem_format("w%u", i)};
    return members;
}

static void fill_regroup(struct message_regroup *regroup)
{
    *regroup = (struct message_regroup){.engine = 1,
                                        .nonce = 0xabcdef,
                                        .rank = 2,
                                        .member_count = MANY,
                                        .members = make_members(),
                                        .source = STATE_SNAPSHOT,
                                        .source_rank = 1,
                                        .snapshot_name = mem_string("step-00000007"),
                                        .has_verdict = 1,
                                        .verdict = {1, 0.3, 4, make_bytes()}};
}

static void fill_prepare(struct message_prepare *prepare)
{
    *prepare = (struct message_prepare){
        .engine = 1, .nonce = 0xfedcba, .rank = 3, .member_count = MANY, .members = make_members()};
}

static void fill_plan(struct message_plan *plan)
{
    *plan = (struct message_plan){.slot_count = MANY,
                                  .slots = mem_array(MANY, sizeof(struct message_slot)),
                                  .slot_images = 2,
                                  .slots_in_step = 9,
                                  .record_count = 2 * MANY,
                                  .shards = mem_array(2 * MANY, sizeof(uint32_t)),
                                  .records = mem_array(2 * MANY, sizeof(uint32_t)),
                                  .wants_parameter_digest = 1};
    for (uint32_t i = 0; i < MANY; i++)
        plan->slots[i] = (struct message_slot){i + 4, 1000000 * i};
    for (uint32_t i = 0; i < 2 * MANY; i++) {
        plan->shards[i] = i / 3;
        plan->records[i] = UINT32_MAX - i;
    }
}

static void fill_part(struct message_snapshot_part *part)
{
    *part = (struct message_snapshot_part){.name = mem_string("step-00000007"),
                                           .offset = 1 << 20,
                                           .total = UINT64_C(1) << 40,
                                           .checksum = 99,
                                           .length = 4,
                                           .data = make_bytes()};
}

static void fill_shards(struct message_shards *shards)
{
    *shards =
        (struct message_shards){1, MANY + 1, MANY, mem_array(MANY, sizeof(struct message_shard))};
    for (uint32_t i = 0; i < MANY; i++)
        shards->shards[i] = (struct message_shard){i + 1, mem_format("/s/%u", i), i + 100, i + 9};
}

static void fill_body(struct message *m)
{
    switch (m->kind) {
    case MESSAGE_HELLO:
        fill_hello(&m->hello);
        break;
    case MESSAGE_HEARTBEAT:
        m->heartbeat = (struct message_heartbeat){
            PHASE_REDUCE,
            12,
            -5,
            33.5,
            UINT64_C(1) << 33,
            77,
            -9,
            1,
            2,
            3,
            1,
            {97, INT64_C(1) << 36, INT64_C(1) << 37, 61, 550000, -1, 79},
            1,
            {UINT64_C(1) << 40, 3000, 2871, 30000, 0.75, 0.125, 128, 61.5, 0.875, 512, 1e-3, 0.5}};
        break;
    case MESSAGE_FORMED:
        m->formed = (struct message_formed){42};
        break;
    case MESSAGE_READY:
        fill_ready(&m->ready);
        break;
    case MESSAGE_BROKEN:
        m->broken = (struct message_broken){mem_string("because"), 2, 3};
        break;
    case MESSAGE_LEAVE:
    case MESSAGE_DISMISS:
        m->leave.reason = mem_string("because");
        break;
    case MESSAGE_SNAPSHOT_PART:
    case MESSAGE_SNAPSHOT_DATA:
        fill_part(&m->snapshot_part);
        break;
    case MESSAGE_SNAPSHOT_READ:
        m->snapshot_read = (struct message_snapshot_read){mem_string("n"), 77, 1 << 20};
        break;
    case MESSAGE_WELCOME:
        m->welcome =
            (struct message_welcome){mem_string("w1-2"), mem_string("a: 1\n"), 100, 3000, 4, 7};
        break;
    case MESSAGE_REJECT:
        m->reject = (struct message_reject){mem_string("other version"), 1, 1};
        break;
    case MESSAGE_REGROUP:
        fill_regroup(&m->regroup);
        break;
    case MESSAGE_PREPARE:
        fill_prepare(&m->prepare);
        break;
    case MESSAGE_PREPARED:
        m->prepared = (struct message_prepared){0xfedcba};
        break;
    case MESSAGE_RENDEZVOUS:
        m->rendezvous.nonce = 0xabcdef;
        m->rendezvous.length = MESSAGE_ID_BYTES;
        m->rendezvous.id = mem_alloc(MESSAGE_ID_BYTES);
        memset(m->rendezvous.id, 0xa5, MESSAGE_ID_BYTES);
        break;
    case MESSAGE_PLAN:
        fill_plan(&m->plan);
        break;
    case MESSAGE_VERDICT:
        m->verdict = (struct message_verdict){1, 0.1, 4, make_bytes()};
        break;
    case MESSAGE_SNAPSHOT_BEGIN:
        m->snapshot_begin = (struct message_snapshot_begin){mem_string("n"), 2, 3, 4, 5, 1};
        break;
    case MESSAGE_SNAPSHOT_ACK:
        m->snapshot_ack = (struct message_snapshot_ack){mem_string("n"), 1 << 20};
        break;
    case MESSAGE_SHARD_UNREADABLE:
        m->shard_unreadable = (struct message_shard_unreadable){7, 1, 9, mem_string("cut off")};
        break;
    case MESSAGE_SHARDS:
        fill_shards(&m->shards);
        break;
    case MESSAGE_COMMAND:
        m->command = (struct message_command){5, mem_string("status"), mem_string("{}")};
        break;
    case MESSAGE_REPLY:
        m->reply = (struct message_reply){5, ERR_STALE, mem_string("too old")};
        break;
    case MESSAGE_BYE:
        break;
    }
}

void message_sample(enum message_kind kind, struct message *ret_message)
{
    memset(ret_message, 0, sizeof(*ret_message));
    ret_message->kind = kind;
    ret_message->header = (struct message_header){1ULL << 63, 2, 3, 4, 5, 6, UINT64_MAX, 8};
    fill_body(ret_message);
}

#define SAME(member) assert_memory_equal(&a->member, &b->member, sizeof(a->member))
#define TEXT(member) assert_string_equal(a->member, b->member)

static void assert_hello_equal(const struct message_hello *a, const struct message_hello *b)
{
    SAME(protocol), TEXT(name), TEXT(host), SAME(boot), SAME(pid), TEXT(device), TEXT(version);
    TEXT(helper_address), SAME(fingerprint), SAME(has_state), SAME(digest);
    SAME(is_ready_pending), SAME(slice_rank), SAME(slice_count), SAME(protocol_oldest);
}

static void assert_ready_equal(const struct message_ready *a, const struct message_ready *b)
{
    SAME(is_finite), SAME(loss), SAME(grad_norm), SAME(images), SAME(digest);
    SAME(parameter_digest), SAME(phase_us), SAME(compute_us), SAME(skip_count);
    SAME(unaccounted);
    for (uint32_t i = 0; i < a->skip_count; i++) {
        SAME(skips[i].shard), SAME(skips[i].record), SAME(skips[i].position);
        TEXT(skips[i].reason);
    }
}

static void assert_regroup_equal(const struct message_regroup *a, const struct message_regroup *b)
{
    SAME(engine), SAME(nonce), SAME(rank), SAME(member_count), SAME(source), SAME(source_rank);
    TEXT(snapshot_name), SAME(has_verdict), SAME(verdict.is_commit), SAME(verdict.lr);
    for (uint32_t i = 0; i < a->member_count; i++) {
        SAME(members[i].worker);
        TEXT(members[i].name);
    }
}

static void assert_prepare_equal(const struct message_prepare *a, const struct message_prepare *b)
{
    SAME(engine), SAME(nonce), SAME(rank), SAME(member_count);
    for (uint32_t i = 0; i < a->member_count; i++) {
        SAME(members[i].worker);
        TEXT(members[i].name);
    }
}

static void assert_plan_equal(const struct message_plan *a, const struct message_plan *b)
{
    SAME(slot_count), SAME(slot_images), SAME(slots_in_step), SAME(record_count);
    SAME(wants_parameter_digest);
    for (uint32_t i = 0; i < a->slot_count; i++) {
        SAME(slots[i].slot);
        SAME(slots[i].position);
    }
    for (uint32_t i = 0; i < a->record_count; i++) {
        SAME(shards[i]);
        SAME(records[i]);
    }
}

static void assert_part_equal(const struct message_snapshot_part *a,
                              const struct message_snapshot_part *b)
{
    TEXT(name), SAME(offset), SAME(total), SAME(checksum), SAME(length);
    assert_memory_equal(a->data, b->data, a->length);
}

static void assert_shards_equal(const struct message_shards *a, const struct message_shards *b)
{
    SAME(from), SAME(until), SAME(shard_count);
    for (uint32_t i = 0; i < a->shard_count; i++) {
        SAME(shards[i].id), SAME(shards[i].records);
        TEXT(shards[i].path);
    }
}

static void assert_small_equal(const struct message *a, const struct message *b)
{
    switch (a->kind) {
    case MESSAGE_HEARTBEAT:
        SAME(heartbeat.phase), SAME(heartbeat.progress), SAME(heartbeat.phase_ms);
        SAME(heartbeat.images_per_second), SAME(heartbeat.memory_bytes);
        SAME(heartbeat.operations), SAME(heartbeat.helper_ms), SAME(heartbeat.is_warm);
        SAME(heartbeat.slice_rank), SAME(heartbeat.slice_count);
        SAME(heartbeat.has_gpu), SAME(heartbeat.gpu.utilization_percent);
        SAME(heartbeat.gpu.memory_used_bytes), SAME(heartbeat.gpu.memory_total_bytes);
        SAME(heartbeat.gpu.temperature_c), SAME(heartbeat.gpu.power_mw);
        SAME(heartbeat.gpu.ecc_errors), SAME(heartbeat.gpu.xid);
        SAME(heartbeat.has_learning);
        assert_memory_equal(&a->heartbeat.learning, &b->heartbeat.learning,
                            sizeof(a->heartbeat.learning));
        break;
    case MESSAGE_FORMED:
        SAME(formed.digest);
        break;
    case MESSAGE_BROKEN:
        TEXT(broken.reason), SAME(broken.slice_rank), SAME(broken.slice_count);
        break;
    case MESSAGE_LEAVE:
    case MESSAGE_DISMISS:
        TEXT(leave.reason);
        break;
    case MESSAGE_PREPARED:
        SAME(prepared.nonce);
        break;
    case MESSAGE_RENDEZVOUS:
        SAME(rendezvous.nonce), SAME(rendezvous.length);
        assert_memory_equal(a->rendezvous.id, b->rendezvous.id, a->rendezvous.length);
        break;
    case MESSAGE_SNAPSHOT_READ:
        TEXT(snapshot_read.name), SAME(snapshot_read.offset), SAME(snapshot_read.length);
        break;
    case MESSAGE_WELCOME:
        TEXT(welcome.name), TEXT(welcome.config);
        SAME(welcome.heartbeat_ms), SAME(welcome.lost_ms), SAME(welcome.protocol),
            SAME(welcome.slots);
        break;
    case MESSAGE_REJECT:
        TEXT(reject.reason), SAME(reject.is_final), SAME(reject.is_accident);
        break;
    case MESSAGE_VERDICT:
        SAME(verdict.is_commit), SAME(verdict.lr);
        break;
    case MESSAGE_SNAPSHOT_BEGIN:
        TEXT(snapshot_begin.name);
        SAME(snapshot_begin.share), SAME(snapshot_begin.share_count), SAME(snapshot_begin.slice);
        SAME(snapshot_begin.slice_count), SAME(snapshot_begin.has_slice_before);
        break;
    case MESSAGE_SHARD_UNREADABLE:
        SAME(shard_unreadable.shard), SAME(shard_unreadable.is_damaged);
        SAME(shard_unreadable.open_count), TEXT(shard_unreadable.reason);
        break;
    case MESSAGE_SNAPSHOT_ACK:
        TEXT(snapshot_ack.name), SAME(snapshot_ack.offset);
        break;
    case MESSAGE_COMMAND:
        SAME(command.request), TEXT(command.name), TEXT(command.arguments);
        break;
    case MESSAGE_REPLY:
        SAME(reply.request), SAME(reply.status), TEXT(reply.body);
        break;
    case MESSAGE_BYE:
        break;
    default:
        fail_msg("no comparison for '%s'", message_kind_name(a->kind));
    }
}

void assert_message_equal(const struct message *a, const struct message *b)
{
    SAME(kind);
    SAME(header.run), SAME(header.epoch), SAME(header.lineage), SAME(header.generation);
    SAME(header.step), SAME(header.attempt), SAME(header.worker), SAME(header.sequence);
    switch (a->kind) {
    case MESSAGE_HELLO:
        assert_hello_equal(&a->hello, &b->hello);
        break;
    case MESSAGE_READY:
        assert_ready_equal(&a->ready, &b->ready);
        break;
    case MESSAGE_REGROUP:
        assert_regroup_equal(&a->regroup, &b->regroup);
        break;
    case MESSAGE_PREPARE:
        assert_prepare_equal(&a->prepare, &b->prepare);
        break;
    case MESSAGE_PLAN:
        assert_plan_equal(&a->plan, &b->plan);
        break;
    case MESSAGE_SNAPSHOT_PART:
    case MESSAGE_SNAPSHOT_DATA:
        assert_part_equal(&a->snapshot_part, &b->snapshot_part);
        break;
    case MESSAGE_SHARDS:
        assert_shards_equal(&a->shards, &b->shards);
        break;
    default:
        assert_small_equal(a, b);
    }
}
