/* feed_message.c - one row per topic of the status feed. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/feed_message.h"

#include <string.h>

#include "proto/field.h"
#include "proto/status.pb-c.h"

enum { TEXT_MAX = 65536 };

/* Our struct nests the body behind the common part; the wire has both in one message. */
#define HEAD(wire_)                                                                                \
    FIELD_SCALAR(feed_message, wire_, sequence), FIELD_SCALAR(feed_message, wire_, wall_ms),       \
        FIELD_SCALAR(feed_message, wire_, epoch)

#define BODY(part_, wire_, member_)                                                                \
    {                                                                                              \
        .kind = FIELD_KIND_OF(((struct feed_message *)0)->part_.member_), .name = #member_,        \
        .own = offsetof(struct feed_message, part_.member_), .wire = offsetof(wire_, member_),     \
        .wire_count = offsetof(wire_, has_##member_)                                               \
    }

#define TEXT(part_, wire_, member_)                                                                \
    {                                                                                              \
        .kind = FIELD_TEXT, .name = #member_, .own = offsetof(struct feed_message, part_.member_), \
        .wire = offsetof(wire_, member_), .limit = TEXT_MAX                                        \
    }

#define PHASES(part_, wire_)                                                                       \
    {                                                                                              \
        .kind = FIELD_PHASES, .name = "phase_us",                                                  \
        .own = offsetof(struct feed_message, part_.phase_us), .wire = offsetof(wire_, phase_us),   \
        .wire_count = offsetof(wire_, n_phase_us), .limit = PHASE_COUNT                            \
    }

static const struct field step_fields[] = {
    HEAD(Seer__FeedStep),
    BODY(step, Seer__FeedStep, step),
    BODY(step, Seer__FeedStep, generation),
    BODY(step, Seer__FeedStep, lineage),
    BODY(step, Seer__FeedStep, world_size),
    BODY(step, Seer__FeedStep, images),
    BODY(step, Seer__FeedStep, is_commit),
    BODY(step, Seer__FeedStep, loss),
    BODY(step, Seer__FeedStep, lr),
    BODY(step, Seer__FeedStep, grad_norm),
    BODY(step, Seer__FeedStep, step_ms),
    BODY(step, Seer__FeedStep, data_wait_ms),
    BODY(step, Seer__FeedStep, digest),
    PHASES(step, Seer__FeedStep),
    {.kind = FIELD_END},
};

static const struct field worker_fields[] = {
    HEAD(Seer__FeedWorker),
    TEXT(worker, Seer__FeedWorker, name),
    BODY(worker, Seer__FeedWorker, worker),
    BODY(worker, Seer__FeedWorker, pid),
    TEXT(worker, Seer__FeedWorker, host),
    TEXT(worker, Seer__FeedWorker, device),
    TEXT(worker, Seer__FeedWorker, state),
    BODY(worker, Seer__FeedWorker, rank),
    BODY(worker, Seer__FeedWorker, step),
    TEXT(worker, Seer__FeedWorker, phase),
    BODY(worker, Seer__FeedWorker, images_per_second),
    BODY(worker, Seer__FeedWorker, memory_bytes),
    BODY(worker, Seer__FeedWorker, heartbeat_age_ms),
    BODY(worker, Seer__FeedWorker, images_trained),
    PHASES(worker, Seer__FeedWorker),
    BODY(worker, Seer__FeedWorker, gpu_utilization_percent),
    BODY(worker, Seer__FeedWorker, gpu_memory_used_bytes),
    BODY(worker, Seer__FeedWorker, gpu_temperature_c),
    BODY(worker, Seer__FeedWorker, gpu_power_mw),
    BODY(worker, Seer__FeedWorker, gpu_ecc_errors),
    BODY(worker, Seer__FeedWorker, gpu_xid),
    TEXT(worker, Seer__FeedWorker, version),
    BODY(worker, Seer__FeedWorker, protocol),
    {.kind = FIELD_END},
};

static const struct field stream_fields[] = {
    HEAD(Seer__FeedStream),
    BODY(stream, Seer__FeedStream, position),
    BODY(stream, Seer__FeedStream, shards),
    BODY(stream, Seer__FeedStream, backlog_images),
    BODY(stream, Seer__FeedStream, newest_wall_ms),
    {.kind = FIELD_END},
};

static const struct field event_fields[] = {
    HEAD(Seer__FeedEvent),
    TEXT(event, Seer__FeedEvent, name),
    TEXT(event, Seer__FeedEvent, text),
    BODY(event, Seer__FeedEvent, is_warning),
    BODY(event, Seer__FeedEvent, number),
    {.kind = FIELD_END},
};

static const struct field snapshot_fields[] = {
    HEAD(Seer__FeedSnapshot),
    TEXT(snapshot, Seer__FeedSnapshot, name),
    BODY(snapshot, Seer__FeedSnapshot, step),
    BODY(snapshot, Seer__FeedSnapshot, bytes),
    BODY(snapshot, Seer__FeedSnapshot, is_complete),
    TEXT(snapshot, Seer__FeedSnapshot, reason),
    {.kind = FIELD_END},
};

static const struct field learning_fields[] = {
    FIELD_SCALAR(message_learning, Seer__FeedLearning, step),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, prototypes),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, prototypes_used),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, assignments),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, usage_entropy),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, codes_entropy),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, embedding),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, embedding_rank),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, embedding_spread),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, weight_norm),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, trust_least),
    FIELD_SCALAR(message_learning, Seer__FeedLearning, trust_median),
    {.kind = FIELD_END},
};
static const struct form learning_form = {sizeof(struct message_learning),
                                          &seer__feed_learning__descriptor, learning_fields};

static const struct field server_fields[] = {
    HEAD(Seer__FeedServer),
    TEXT(server, Seer__FeedServer, state),
    BODY(server, Seer__FeedServer, stale_run),
    BODY(server, Seer__FeedServer, stale_epoch),
    BODY(server, Seer__FeedServer, stale_incarnation),
    BODY(server, Seer__FeedServer, stale_lineage),
    BODY(server, Seer__FeedServer, stale_generation),
    BODY(server, Seer__FeedServer, stale_step),
    BODY(server, Seer__FeedServer, stale_order),
    BODY(server, Seer__FeedServer, step),
    BODY(server, Seer__FeedServer, generation),
    BODY(server, Seer__FeedServer, lineage),
    BODY(server, Seer__FeedServer, world_size),
    BODY(server, Seer__FeedServer, workers),
    BODY(server, Seer__FeedServer, uptime_ms),
    BODY(server, Seer__FeedServer, trained_ms),
    BODY(server, Seer__FeedServer, disk_free_bytes),
    BODY(server, Seer__FeedServer, disk_total_bytes),
    TEXT(server, Seer__FeedServer, snapshot),
    BODY(server, Seer__FeedServer, snapshot_step),
    BODY(server, Seer__FeedServer, snapshot_wall_ms),
    {.kind = FIELD_MAYBE,
     .name = "learning",
     .own = offsetof(struct feed_message, server.learning),
     .own_count = offsetof(struct feed_message, server.has_learning),
     .wire = offsetof(Seer__FeedServer, learning),
     .form = &learning_form},
    {.kind = FIELD_END},
};

#define FORM(wire_, fields_)                                                                       \
    {                                                                                              \
        sizeof(struct feed_message), &seer__##wire_##__descriptor, fields_                         \
    }

static const struct {
    const char *topic;
    struct form form;
} rows[FEED_KIND_COUNT] = {
    [FEED_STEP] = {"step", FORM(feed_step, step_fields)},
    [FEED_WORKER] = {"worker", FORM(feed_worker, worker_fields)},
    [FEED_STREAM] = {"stream", FORM(feed_stream, stream_fields)},
    [FEED_EVENT] = {"event", FORM(feed_event, event_fields)},
    [FEED_SNAPSHOT] = {"snapshot", FORM(feed_snapshot, snapshot_fields)},
    [FEED_SERVER] = {"server", FORM(feed_server, server_fields)},
};

const char *feed_topic(enum feed_kind kind)
{
    return rows[kind].topic;
}

enum status feed_message_encode(const struct feed_message *message, struct buf *out)
{
    return field_encode(&rows[message->kind].form, message, out);
}

enum status feed_message_decode(const void *topic, size_t topic_length, const void *bytes,
                                size_t length, struct feed_message *ret_message)
{
    if (length > FEED_BYTES_MAX)
        return fail(ERR_PROTOCOL, "a feed message of %zu bytes, at most %d", length,
                    FEED_BYTES_MAX);
    for (int kind = 0; kind < FEED_KIND_COUNT; kind++) {
        if (strlen(rows[kind].topic) != topic_length ||
            memcmp(rows[kind].topic, topic, topic_length) != 0)
            continue;
        struct feed_message message;
        memset(&message, 0, sizeof(message));
        TRY(field_decode(&rows[kind].form, bytes, length, &message));
        message.kind = (enum feed_kind)kind;
        *ret_message = message;
        return OK;
    }
    return fail(ERR_PROTOCOL, "a feed topic of %zu bytes that is unknown", topic_length);
}

void feed_message_done(struct feed_message *message)
{
    field_done(&rows[message->kind].form, message);
}
