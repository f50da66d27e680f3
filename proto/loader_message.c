/* loader_message.c - one row per kind of message: its name and its fields. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/loader_message.h"

#include <string.h>

#include "common/check.h"
#include "proto/field.h"
#include "proto/loader.pb-c.h"

enum { WORKER_NAME_MAX = 1024 };

struct envelope {
    uint32_t kind;
    uint32_t body_length;
    uint8_t *body;
};

static const struct field envelope_fields[] = {
    FIELD_SCALAR(envelope, Seer__LoaderEnvelope, kind),
    FIELD_DATA(envelope, Seer__LoaderEnvelope, body_length, body, LOADER_MESSAGE_BYTES_MAX),
    {.kind = FIELD_END},
};
static const struct form envelope_form = {sizeof(struct envelope),
                                          &seer__loader_envelope__descriptor, envelope_fields};

static const struct field greeting_fields[] = {
    FIELD_SCALAR(loader_greeting, Seer__LoaderGreeting, protocol),
    FIELD_STRING(loader_greeting, Seer__LoaderGreeting, name, WORKER_NAME_MAX),
    FIELD_SCALAR(loader_greeting, Seer__LoaderGreeting, credit_bytes),
    FIELD_SCALAR(loader_greeting, Seer__LoaderGreeting, credit_records),
    {.kind = FIELD_END},
};

static const struct field shard_fields[] = {
    FIELD_STRING(loader_shard, Seer__LoaderShard, name, LOADER_NAME_MAX),
    FIELD_SCALAR(loader_shard, Seer__LoaderShard, state),
    FIELD_SCALAR(loader_shard, Seer__LoaderShard, records),
    FIELD_SCALAR(loader_shard, Seer__LoaderShard, bytes),
    FIELD_SCALAR(loader_shard, Seer__LoaderShard, content_hash),
    FIELD_STRING(loader_shard, Seer__LoaderShard, reason, LOADER_REASON_MAX),
    {.kind = FIELD_END},
};
static const struct form shard_form = {sizeof(struct loader_shard), &seer__loader_shard__descriptor,
                                       shard_fields};

static const struct field inventory_fields[] = {
    FIELD_SCALAR(loader_inventory, Seer__LoaderInventory, protocol),
    FIELD_SCALAR(loader_inventory, Seer__LoaderInventory, is_first),
    FIELD_SCALAR(loader_inventory, Seer__LoaderInventory, is_last),
    FIELD_REPEATED(FIELD_MESSAGES, loader_inventory, Seer__LoaderInventory, shard_count, shards,
                   LOADER_PAGE_SHARDS, &shard_form),
    {.kind = FIELD_END},
};

static const struct field read_fields[] = {
    FIELD_SCALAR(loader_read, Seer__LoaderRead, request),
    FIELD_REPEATED(FIELD_MESSAGES, loader_read, Seer__LoaderRead, shard_count, shards,
                   LOADER_PAGE_SHARDS, &shard_form),
    FIELD_REPEATED(FIELD_NUMBERS, loader_read, Seer__LoaderRead, record_count, which,
                   LOADER_READ_RECORDS, NULL),
    FIELD_REPEATED(FIELD_MORE, loader_read, Seer__LoaderRead, record_count, records,
                   LOADER_READ_RECORDS, NULL),
    {.kind = FIELD_END},
};

static const struct field request_fields[] = {
    FIELD_SCALAR(loader_request, Seer__LoaderRequest, request),
    FIELD_SCALAR(loader_request, Seer__LoaderRequest, count),
    {.kind = FIELD_END},
};

static const struct field credit_fields[] = {
    FIELD_SCALAR(loader_credit, Seer__LoaderCredit, bytes),
    FIELD_SCALAR(loader_credit, Seer__LoaderCredit, records),
    {.kind = FIELD_END},
};

static const struct field part_fields[] = {
    FIELD_SCALAR(loader_part, Seer__LoaderPart, request),
    FIELD_SCALAR(loader_part, Seer__LoaderPart, offset),
    FIELD_SCALAR(loader_part, Seer__LoaderPart, total),
    FIELD_SCALAR(loader_part, Seer__LoaderPart, digest),
    FIELD_DATA(loader_part, Seer__LoaderPart, length, data, LOADER_PART_BYTES),
    {.kind = FIELD_END},
};
static const struct form part_form = {sizeof(struct loader_part), &seer__loader_part__descriptor,
                                      part_fields};

static const struct field records_fields[] = {
    FIELD_REPEATED(FIELD_MESSAGES, loader_records, Seer__LoaderRecords, part_count, parts,
                   LOADER_PARTS_MAX, &part_form),
    {.kind = FIELD_END},
};

static const struct field refusal_fields[] = {
    FIELD_SCALAR(loader_refusal, Seer__LoaderRefusal, request),
    FIELD_SCALAR(loader_refusal, Seer__LoaderRefusal, cause),
    FIELD_STRING(loader_refusal, Seer__LoaderRefusal, reason, LOADER_REASON_MAX),
    {.kind = FIELD_END},
};

struct row {
    enum loader_message_kind kind;
    const char *name;
    struct form form;
};

#define ROW(kind_, name_, part_)                                                                   \
    {                                                                                              \
        kind_, name_,                                                                              \
        {                                                                                          \
            sizeof(struct loader_##part_), &seer__loader_##part_##__descriptor, part_##_fields     \
        }                                                                                          \
    }

static const struct row rows[] = {
    ROW(LOADER_GREETING, "greeting", greeting), ROW(LOADER_READ, "read", read),
    ROW(LOADER_URGE, "urge", request),          ROW(LOADER_CREDIT, "credit", credit),
    ROW(LOADER_FORGET, "forget", request),      ROW(LOADER_INVENTORY, "inventory", inventory),
    ROW(LOADER_RECORDS, "records", records),    ROW(LOADER_REFUSAL, "refusal", refusal),
};

static const struct row *row_find(uint32_t kind)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((uint32_t)rows[i].kind == kind)
            return &rows[i];
    return NULL;
}

/* Where the body of any kind starts: the anonymous union's members share one address. */
static void *message_body(struct loader_message *message)
{
    return &message->greeting;
}

enum status loader_message_encode(const struct loader_message *message, struct buf *out)
{
    const struct row *row = row_find(message->kind);
    CHECK(row != NULL);
    struct buf body;
    buf_init(&body, LOADER_MESSAGE_BYTES_MAX);
    enum status status = field_encode(&row->form, &message->greeting, &body);
    if (status == OK) {
        const struct envelope envelope = {
            .kind = message->kind, .body_length = (uint32_t)body.length, .body = body.bytes};
        status = field_encode(&envelope_form, &envelope, out);
    }
    buf_done(&body);
    return status == OK ? OK : fail_add(status, "loader message '%s'", row->name);
}

/* ---- what must hold among fields ---- */

static enum status check_inventory(const struct loader_inventory *inventory)
{
    for (uint32_t i = 0; i < inventory->shard_count; i++) {
        const struct loader_shard *shard = &inventory->shards[i];
        if (shard->state < LOADER_SHARD_HELD || shard->state > LOADER_SHARD_GONE)
            return fail(ERR_PROTOCOL, "shard state %u is unknown", shard->state);
        if (shard->name[0] == '\0')
            return fail(ERR_PROTOCOL, "a shard without a name");
    }
    return OK;
}

static enum status check_read(const struct loader_read *read)
{
    if (read->request > UINT64_MAX - read->record_count)
        return fail(ERR_PROTOCOL, "requests beyond the last number");
    for (uint32_t i = 0; i < read->record_count; i++)
        if (read->which[i] >= read->shard_count)
            return fail(ERR_PROTOCOL, "shard %u of %u", read->which[i], read->shard_count);
    return OK;
}

static enum status check_records(const struct loader_records *records)
{
    for (uint32_t i = 0; i < records->part_count; i++) {
        const struct loader_part *part = &records->parts[i];
        if (part->total > LOADER_RECORD_BYTES_MAX)
            return fail(ERR_PROTOCOL, "a record of %u bytes, at most %u", part->total,
                        (unsigned)LOADER_RECORD_BYTES_MAX);
        if (part->length > part->total || part->offset > part->total - part->length)
            return fail(ERR_PROTOCOL, "bytes %u+%u of %u", part->offset, part->length, part->total);
        if (part->length == 0 && part->total != 0)
            return fail(ERR_PROTOCOL, "a part without bytes");
    }
    return OK;
}

static enum status check(const struct loader_message *message)
{
    const uint32_t cause = message->refusal.cause;
    switch (message->kind) {
    case LOADER_INVENTORY:
        return check_inventory(&message->inventory);
    case LOADER_READ:
        return check_read(&message->read);
    case LOADER_FORGET:
        if (message->request.request > UINT64_MAX - message->request.count)
            return fail(ERR_PROTOCOL, "requests beyond the last number");
        return OK;
    case LOADER_RECORDS:
        return check_records(&message->records);
    case LOADER_REFUSAL:
        if (cause < LOADER_REFUSAL_NOT_HELD || cause > LOADER_REFUSAL_STRANGER)
            return fail(ERR_PROTOCOL, "cause %u is unknown", cause);
        return OK;
    default:
        return OK; /* the limits say it all */
    }
}

static enum status body_decode(const struct envelope *envelope, struct loader_message *message)
{
    const struct row *row = row_find(envelope->kind);
    if (row == NULL)
        return fail(ERR_PROTOCOL, "loader message of kind %u is unknown", envelope->kind);
    message->kind = row->kind;
    enum status status =
        field_decode(&row->form, envelope->body, envelope->body_length, message_body(message));
    if (status == OK)
        status = check(message);
    return status == OK ? OK : fail_add(status, "loader message '%s'", row->name);
}

enum status loader_message_decode(const void *bytes, size_t length,
                                  struct loader_message *ret_message)
{
    if (length > LOADER_MESSAGE_BYTES_MAX)
        return fail(ERR_PROTOCOL, "a loader message of %zu bytes, at most %d", length,
                    LOADER_MESSAGE_BYTES_MAX);
    struct envelope envelope = {0};
    struct loader_message message;
    memset(&message, 0, sizeof(message));
    TRY(field_decode(&envelope_form, bytes, length, &envelope));
    enum status status = body_decode(&envelope, &message);
    field_done(&envelope_form, &envelope);
    if (status == OK)
        *ret_message = message;
    else
        loader_message_done(&message);
    return status;
}

void loader_message_done(struct loader_message *message)
{
    const struct row *row = row_find(message->kind);
    if (row != NULL)
        field_done(&row->form, message_body(message));
    memset(message, 0, sizeof(*message));
}

const char *loader_message_name(enum loader_message_kind kind)
{
    const struct row *row = row_find(kind);
    return row == NULL ? "unknown" : row->name;
}
