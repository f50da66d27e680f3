/* message.c - one row per kind of message: its name and its fields. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/message.h"

#include <string.h>

#include "common/check.h"
#include "common/mem.h"
#include "proto/control.pb-c.h"
#include "proto/field.h"
#include "proto/message_check.h"

static const struct field no_fields[] = {{.kind = FIELD_END}};

static const struct field header_fields[] = {
    FIELD_SCALAR(message_header, Seer__Header, run),
    FIELD_SCALAR(message_header, Seer__Header, epoch),
    FIELD_SCALAR(message_header, Seer__Header, lineage),
    FIELD_SCALAR(message_header, Seer__Header, generation),
    FIELD_SCALAR(message_header, Seer__Header, step),
    FIELD_SCALAR(message_header, Seer__Header, attempt),
    FIELD_SCALAR(message_header, Seer__Header, worker),
    FIELD_SCALAR(message_header, Seer__Header, sequence),
    {.kind = FIELD_END},
};
static const struct form header_form = {sizeof(struct message_header), &seer__header__descriptor,
                                        header_fields};

/* The outermost message; its body is a packed message of the given kind. */
struct envelope {
    int has_header;
    struct message_header header;
    uint32_t kind;
    uint32_t body_length;
    uint8_t *body;
};

static const struct field envelope_fields[] = {
    {.kind = FIELD_MAYBE,
     .name = "header",
     .own = offsetof(struct envelope, header),
     .own_count = offsetof(struct envelope, has_header),
     .wire = offsetof(Seer__Envelope, header),
     .form = &header_form},
    FIELD_SCALAR(envelope, Seer__Envelope, kind),
    FIELD_DATA(envelope, Seer__Envelope, body_length, body, MESSAGE_BYTES_MAX),
    {.kind = FIELD_END},
};
static const struct form envelope_form = {sizeof(struct envelope), &seer__envelope__descriptor,
                                          envelope_fields};

static const struct field hello_fields[] = {
    FIELD_SCALAR(message_hello, Seer__Hello, protocol),
    FIELD_STRING(message_hello, Seer__Hello, name, MESSAGE_TEXT_MAX),
    FIELD_STRING(message_hello, Seer__Hello, host, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_hello, Seer__Hello, boot),
    FIELD_SCALAR(message_hello, Seer__Hello, pid),
    FIELD_STRING(message_hello, Seer__Hello, device, MESSAGE_TEXT_MAX),
    FIELD_STRING(message_hello, Seer__Hello, version, MESSAGE_TEXT_MAX),
    FIELD_STRING(message_hello, Seer__Hello, helper_address, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_hello, Seer__Hello, fingerprint),
    FIELD_SCALAR(message_hello, Seer__Hello, has_state),
    FIELD_SCALAR(message_hello, Seer__Hello, digest),
    FIELD_SCALAR(message_hello, Seer__Hello, is_ready_pending),
    FIELD_DATA(message_hello, Seer__Hello, record_length, record, MESSAGE_RECORD_BYTES),
    FIELD_SCALAR(message_hello, Seer__Hello, slice_rank),
    FIELD_SCALAR(message_hello, Seer__Hello, slice_count),
    FIELD_SCALAR(message_hello, Seer__Hello, protocol_oldest),
    {.kind = FIELD_END},
};

static const struct field gpu_fields[] = {
    FIELD_SCALAR(message_gpu, Seer__Gpu, utilization_percent),
    FIELD_SCALAR(message_gpu, Seer__Gpu, memory_used_bytes),
    FIELD_SCALAR(message_gpu, Seer__Gpu, memory_total_bytes),
    FIELD_SCALAR(message_gpu, Seer__Gpu, temperature_c),
    FIELD_SCALAR(message_gpu, Seer__Gpu, power_mw),
    FIELD_SCALAR(message_gpu, Seer__Gpu, ecc_errors),
    FIELD_SCALAR(message_gpu, Seer__Gpu, xid),
    {.kind = FIELD_END},
};
static const struct form gpu_form = {sizeof(struct message_gpu), &seer__gpu__descriptor,
                                     gpu_fields};

static const struct field learning_fields[] = {
    FIELD_SCALAR(message_learning, Seer__Learning, step),
    FIELD_SCALAR(message_learning, Seer__Learning, prototypes),
    FIELD_SCALAR(message_learning, Seer__Learning, prototypes_used),
    FIELD_SCALAR(message_learning, Seer__Learning, assignments),
    FIELD_SCALAR(message_learning, Seer__Learning, usage_entropy),
    FIELD_SCALAR(message_learning, Seer__Learning, codes_entropy),
    FIELD_SCALAR(message_learning, Seer__Learning, embedding),
    FIELD_SCALAR(message_learning, Seer__Learning, embedding_rank),
    FIELD_SCALAR(message_learning, Seer__Learning, embedding_spread),
    FIELD_SCALAR(message_learning, Seer__Learning, weight_norm),
    FIELD_SCALAR(message_learning, Seer__Learning, trust_least),
    FIELD_SCALAR(message_learning, Seer__Learning, trust_median),
    {.kind = FIELD_END},
};
static const struct form learning_form = {sizeof(struct message_learning),
                                          &seer__learning__descriptor, learning_fields};

static const struct field heartbeat_fields[] = {
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, phase),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, progress),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, phase_ms),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, images_per_second),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, memory_bytes),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, operations),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, helper_ms),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, is_warm),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, slice_rank),
    FIELD_SCALAR(message_heartbeat, Seer__Heartbeat, slice_count),
    {.kind = FIELD_MAYBE,
     .name = "gpu",
     .own = offsetof(struct message_heartbeat, gpu),
     .own_count = offsetof(struct message_heartbeat, has_gpu),
     .wire = offsetof(Seer__Heartbeat, gpu),
     .form = &gpu_form},
    {.kind = FIELD_MAYBE,
     .name = "learning",
     .own = offsetof(struct message_heartbeat, learning),
     .own_count = offsetof(struct message_heartbeat, has_learning),
     .wire = offsetof(Seer__Heartbeat, learning),
     .form = &learning_form},
    {.kind = FIELD_END},
};

static const struct field formed_fields[] = {
    FIELD_SCALAR(message_formed, Seer__Formed, digest),
    {.kind = FIELD_END},
};

static const struct field skip_fields[] = {
    FIELD_SCALAR(message_skip, Seer__Skip, shard),
    FIELD_SCALAR(message_skip, Seer__Skip, record),
    FIELD_SCALAR(message_skip, Seer__Skip, position),
    FIELD_STRING(message_skip, Seer__Skip, reason, MESSAGE_TEXT_MAX),
    {.kind = FIELD_END},
};
static const struct form skip_form = {sizeof(struct message_skip), &seer__skip__descriptor,
                                      skip_fields};

static const struct field ready_fields[] = {
    FIELD_SCALAR(message_ready, Seer__Ready, is_finite),
    FIELD_SCALAR(message_ready, Seer__Ready, loss),
    FIELD_SCALAR(message_ready, Seer__Ready, grad_norm),
    FIELD_SCALAR(message_ready, Seer__Ready, images),
    FIELD_SCALAR(message_ready, Seer__Ready, digest),
    FIELD_SCALAR(message_ready, Seer__Ready, parameter_digest),
    {.kind = FIELD_PHASES,
     .name = "phase_us",
     .own = offsetof(struct message_ready, phase_us),
     .wire = offsetof(Seer__Ready, phase_us),
     .wire_count = offsetof(Seer__Ready, n_phase_us),
     .limit = PHASE_COUNT},
    FIELD_SCALAR(message_ready, Seer__Ready, compute_us),
    FIELD_SCALAR(message_ready, Seer__Ready, unaccounted),
    FIELD_REPEATED(FIELD_MESSAGES, message_ready, Seer__Ready, skip_count, skips, MESSAGE_SKIPS_MAX,
                   &skip_form),
    {.kind = FIELD_END},
};

static const struct field broken_fields[] = {
    FIELD_STRING(message_broken, Seer__Broken, reason, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_broken, Seer__Broken, slice_rank),
    FIELD_SCALAR(message_broken, Seer__Broken, slice_count),
    {.kind = FIELD_END},
};

static const struct field leave_fields[] = {
    FIELD_STRING(message_leave, Seer__Reason, reason, MESSAGE_TEXT_MAX),
    {.kind = FIELD_END},
};

static const struct field welcome_fields[] = {
    FIELD_STRING(message_welcome, Seer__Welcome, name, MESSAGE_TEXT_MAX),
    FIELD_STRING(message_welcome, Seer__Welcome, config, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_welcome, Seer__Welcome, heartbeat_ms),
    FIELD_SCALAR(message_welcome, Seer__Welcome, lost_ms),
    FIELD_SCALAR(message_welcome, Seer__Welcome, protocol),
    FIELD_SCALAR(message_welcome, Seer__Welcome, slots),
    {.kind = FIELD_END},
};

static const struct field reject_fields[] = {
    FIELD_STRING(message_reject, Seer__Reject, reason, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_reject, Seer__Reject, is_final),
    FIELD_SCALAR(message_reject, Seer__Reject, is_accident),
    {.kind = FIELD_END},
};

static const struct field member_fields[] = {
    FIELD_SCALAR(message_member, Seer__Member, worker),
    FIELD_STRING(message_member, Seer__Member, name, MESSAGE_TEXT_MAX),
    {.kind = FIELD_END},
};
static const struct form member_form = {sizeof(struct message_member), &seer__member__descriptor,
                                        member_fields};

static const struct field verdict_fields[] = {
    FIELD_SCALAR(message_verdict, Seer__Verdict, is_commit),
    FIELD_SCALAR(message_verdict, Seer__Verdict, lr),
    FIELD_DATA(message_verdict, Seer__Verdict, record_length, record, MESSAGE_RECORD_BYTES),
    {.kind = FIELD_END},
};
static const struct form verdict_form = {sizeof(struct message_verdict), &seer__verdict__descriptor,
                                         verdict_fields};

static const struct field regroup_fields[] = {
    FIELD_SCALAR(message_regroup, Seer__Regroup, engine),
    FIELD_SCALAR(message_regroup, Seer__Regroup, nonce),
    FIELD_SCALAR(message_regroup, Seer__Regroup, rank),
    FIELD_REPEATED(FIELD_MESSAGES, message_regroup, Seer__Regroup, member_count, members,
                   MESSAGE_MEMBERS_MAX, &member_form),
    FIELD_SCALAR(message_regroup, Seer__Regroup, source),
    FIELD_SCALAR(message_regroup, Seer__Regroup, source_rank),
    FIELD_STRING(message_regroup, Seer__Regroup, snapshot_name, MESSAGE_TEXT_MAX),
    {.kind = FIELD_MAYBE,
     .name = "verdict",
     .own = offsetof(struct message_regroup, verdict),
     .own_count = offsetof(struct message_regroup, has_verdict),
     .wire = offsetof(Seer__Regroup, verdict),
     .form = &verdict_form},
    {.kind = FIELD_END},
};

static const struct field prepare_fields[] = {
    FIELD_SCALAR(message_prepare, Seer__Prepare, engine),
    FIELD_SCALAR(message_prepare, Seer__Prepare, nonce),
    FIELD_SCALAR(message_prepare, Seer__Prepare, rank),
    FIELD_REPEATED(FIELD_MESSAGES, message_prepare, Seer__Prepare, member_count, members,
                   MESSAGE_MEMBERS_MAX, &member_form),
    {.kind = FIELD_END},
};

static const struct field prepared_fields[] = {
    FIELD_SCALAR(message_prepared, Seer__Prepared, nonce),
    {.kind = FIELD_END},
};

static const struct field rendezvous_fields[] = {
    FIELD_SCALAR(message_rendezvous, Seer__Rendezvous, nonce),
    FIELD_DATA(message_rendezvous, Seer__Rendezvous, length, id, MESSAGE_ID_BYTES),
    {.kind = FIELD_END},
};

static const struct field slot_fields[] = {
    FIELD_SCALAR(message_slot, Seer__Slot, slot),
    FIELD_SCALAR(message_slot, Seer__Slot, position),
    {.kind = FIELD_END},
};
static const struct form slot_form = {sizeof(struct message_slot), &seer__slot__descriptor,
                                      slot_fields};

static const struct field plan_fields[] = {
    FIELD_REPEATED(FIELD_MESSAGES, message_plan, Seer__Plan, slot_count, slots, MESSAGE_SLOTS_MAX,
                   &slot_form),
    FIELD_SCALAR(message_plan, Seer__Plan, slot_images),
    FIELD_SCALAR(message_plan, Seer__Plan, slots_in_step),
    FIELD_REPEATED(FIELD_NUMBERS, message_plan, Seer__Plan, record_count, shards,
                   MESSAGE_RECORDS_MAX, NULL),
    FIELD_REPEATED(FIELD_MORE, message_plan, Seer__Plan, record_count, records, MESSAGE_RECORDS_MAX,
                   NULL),
    FIELD_SCALAR(message_plan, Seer__Plan, wants_parameter_digest),
    {.kind = FIELD_END},
};

static const struct field dismiss_fields[] = {
    FIELD_STRING(message_dismiss, Seer__Reason, reason, MESSAGE_TEXT_MAX),
    {.kind = FIELD_END},
};

static const struct field shard_fields[] = {
    FIELD_SCALAR(message_shard, Seer__Shard, id),
    FIELD_STRING(message_shard, Seer__Shard, path, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_shard, Seer__Shard, records),
    FIELD_SCALAR(message_shard, Seer__Shard, content_hash),
    {.kind = FIELD_END},
};
static const struct form shard_form = {sizeof(struct message_shard), &seer__shard__descriptor,
                                       shard_fields};

static const struct field shards_fields[] = {
    FIELD_SCALAR(message_shards, Seer__Shards, from),
    FIELD_SCALAR(message_shards, Seer__Shards, until),
    FIELD_REPEATED(FIELD_MESSAGES, message_shards, Seer__Shards, shard_count, shards,
                   MESSAGE_SHARD_LIST_MAX, &shard_form),
    {.kind = FIELD_END},
};

static const struct field shard_unreadable_fields[] = {
    FIELD_SCALAR(message_shard_unreadable, Seer__ShardUnreadable, shard),
    FIELD_SCALAR(message_shard_unreadable, Seer__ShardUnreadable, is_damaged),
    FIELD_SCALAR(message_shard_unreadable, Seer__ShardUnreadable, open_count),
    FIELD_STRING(message_shard_unreadable, Seer__ShardUnreadable, reason, MESSAGE_TEXT_MAX),
    {.kind = FIELD_END},
};

static const struct field snapshot_begin_fields[] = {
    FIELD_STRING(message_snapshot_begin, Seer__SnapshotBegin, name, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_snapshot_begin, Seer__SnapshotBegin, share),
    FIELD_SCALAR(message_snapshot_begin, Seer__SnapshotBegin, share_count),
    FIELD_SCALAR(message_snapshot_begin, Seer__SnapshotBegin, slice),
    FIELD_SCALAR(message_snapshot_begin, Seer__SnapshotBegin, slice_count),
    FIELD_SCALAR(message_snapshot_begin, Seer__SnapshotBegin, has_slice_before),
    {.kind = FIELD_END},
};

static const struct field snapshot_part_fields[] = {
    FIELD_STRING(message_snapshot_part, Seer__SnapshotPart, name, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_snapshot_part, Seer__SnapshotPart, offset),
    FIELD_SCALAR(message_snapshot_part, Seer__SnapshotPart, total),
    FIELD_SCALAR(message_snapshot_part, Seer__SnapshotPart, checksum),
    FIELD_DATA(message_snapshot_part, Seer__SnapshotPart, length, data, MESSAGE_PART_BYTES),
    {.kind = FIELD_END},
};

static const struct field snapshot_ack_fields[] = {
    FIELD_STRING(message_snapshot_ack, Seer__SnapshotAck, name, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_snapshot_ack, Seer__SnapshotAck, offset),
    {.kind = FIELD_END},
};

static const struct field snapshot_read_fields[] = {
    FIELD_STRING(message_snapshot_read, Seer__SnapshotRead, name, MESSAGE_TEXT_MAX),
    FIELD_SCALAR(message_snapshot_read, Seer__SnapshotRead, offset),
    FIELD_SCALAR(message_snapshot_read, Seer__SnapshotRead, length),
    {.kind = FIELD_END},
};

static const struct field command_fields[] = {
    FIELD_SCALAR(message_command, Seer__Command, request),
    FIELD_STRING(message_command, Seer__Command, name, MESSAGE_TEXT_MAX),
    FIELD_STRING(message_command, Seer__Command, arguments, MESSAGE_TEXT_MAX),
    {.kind = FIELD_END},
};

static const struct field reply_fields[] = {
    FIELD_SCALAR(message_reply, Seer__Reply, request),
    FIELD_SCALAR(message_reply, Seer__Reply, status),
    FIELD_STRING(message_reply, Seer__Reply, body, MESSAGE_REPLY_MAX),
    {.kind = FIELD_END},
};

struct row {
    enum message_kind kind;
    const char *name;
    struct form form;
};

#define ROW(kind_, name_, wire_)                                                                   \
    {                                                                                              \
        MESSAGE_##kind_, #name_,                                                                   \
        {                                                                                          \
            sizeof(struct message_##name_), &seer__##wire_##__descriptor, name_##_fields           \
        }                                                                                          \
    }

static const struct row rows[] = {
    ROW(HELLO, hello, hello),
    ROW(HEARTBEAT, heartbeat, heartbeat),
    ROW(FORMED, formed, formed),
    ROW(READY, ready, ready),
    ROW(BROKEN, broken, broken),
    ROW(LEAVE, leave, reason),
    {MESSAGE_BYE, "bye", {0, &seer__empty__descriptor, no_fields}},
    ROW(SNAPSHOT_PART, snapshot_part, snapshot_part),
    ROW(SNAPSHOT_READ, snapshot_read, snapshot_read),
    ROW(PREPARED, prepared, prepared),
    ROW(SHARD_UNREADABLE, shard_unreadable, shard_unreadable),
    ROW(RENDEZVOUS, rendezvous, rendezvous),
    ROW(WELCOME, welcome, welcome),
    ROW(REJECT, reject, reject),
    ROW(REGROUP, regroup, regroup),
    ROW(PREPARE, prepare, prepare),
    ROW(PLAN, plan, plan),
    ROW(VERDICT, verdict, verdict),
    ROW(DISMISS, dismiss, reason),
    ROW(SNAPSHOT_BEGIN, snapshot_begin, snapshot_begin),
    ROW(SNAPSHOT_ACK, snapshot_ack, snapshot_ack),
    {MESSAGE_SNAPSHOT_DATA,
     "snapshot_data",
     {sizeof(struct message_snapshot_part), &seer__snapshot_part__descriptor,
      snapshot_part_fields}},
    ROW(SHARDS, shards, shards),
    ROW(COMMAND, command, command),
    ROW(REPLY, reply, reply),
};

static const struct row *row_find(uint32_t kind)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((uint32_t)rows[i].kind == kind)
            return &rows[i];
    return NULL;
}

/* Where the body of any kind starts: the anonymous union's members share one address. */
static void *message_body(struct message *message)
{
    return &message->hello;
}

static enum status envelope_encode(const struct message *message, struct buf *body, struct buf *out)
{
    struct envelope envelope = {
        .has_header = 1,
        .header = message->header,
        .kind = message->kind,
        .body_length = (uint32_t)body->length,
        .body = body->bytes,
    };
    struct buf packed;
    buf_init(&packed, MESSAGE_BYTES_MAX);
    enum status status = field_encode(&envelope_form, &envelope, &packed);
    if (status == OK)
        status = buf_append(out, packed.bytes, packed.length);
    buf_done(&packed);
    return status;
}

enum status message_encode(const struct message *message, struct buf *out)
{
    const struct row *row = row_find(message->kind);
    CHECK(row != NULL);
    struct buf body;
    buf_init(&body, MESSAGE_BYTES_MAX);
    enum status status = field_encode(&row->form, &message->hello, &body);
    if (status == OK)
        status = envelope_encode(message, &body, out);
    buf_done(&body);
    return status == OK ? OK : fail_add(status, "message '%s'", row->name);
}

static enum status body_decode(const struct envelope *envelope, struct message *message)
{
    const struct row *row = row_find(envelope->kind);
    if (row == NULL)
        return fail(ERR_PROTOCOL, "kind %u is unknown", envelope->kind);
    message->kind = row->kind;
    message->header = envelope->header;
    enum status status =
        field_decode(&row->form, envelope->body, envelope->body_length, message_body(message));
    if (status == OK)
        status = message_check(message);
    return status == OK ? OK : fail_add(status, "message '%s'", row->name);
}

enum status message_decode(const void *bytes, size_t length, struct message *ret_message)
{
    if (length > MESSAGE_BYTES_MAX)
        return fail(ERR_PROTOCOL, "a message of %zu bytes, at most %d", length, MESSAGE_BYTES_MAX);
    struct envelope envelope = {0};
    struct message message;
    memset(&message, 0, sizeof(message));
    TRY(field_decode(&envelope_form, bytes, length, &envelope));
    enum status status = body_decode(&envelope, &message);
    field_done(&envelope_form, &envelope);
    if (status == OK)
        *ret_message = message;
    else
        message_done(&message);
    return status;
}

void message_done(struct message *message)
{
    const struct row *row = row_find(message->kind);
    if (row != NULL)
        field_done(&row->form, message_body(message));
    memset(message, 0, sizeof(*message));
}

void message_copy(const struct message *from, struct message *ret_copy)
{
    const struct row *row = row_find(from->kind);
    *ret_copy = *from;
    if (row != NULL)
        field_copy(&row->form, &from->hello, message_body(ret_copy));
}

const char *message_kind_name(enum message_kind kind)
{
    const struct row *row = row_find(kind);
    return row == NULL ? "unknown" : row->name;
}

const char *phase_name(enum worker_phase phase)
{
    static const char *const names[PHASE_COUNT] = {
        [PHASE_IDLE] = "idle",       [PHASE_FORM] = "form",   [PHASE_DATA] = "data",
        [PHASE_FORWARD] = "forward", [PHASE_LOSS] = "loss",   [PHASE_BACKWARD] = "backward",
        [PHASE_REDUCE] = "reduce",   [PHASE_READY] = "ready", [PHASE_APPLY] = "apply",
    };
    return (unsigned)phase < PHASE_COUNT ? names[phase] : "unknown";
}
