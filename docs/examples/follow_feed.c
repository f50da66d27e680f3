/* follow_feed.c - the status feed of a run from now on, without a gap: CONTROL FEED [MESSAGES]. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "control.pb-c.h" /* both by protoc-c from proto/ */
#include "status.pb-c.h"

enum { COMMAND = 40, BYTES_MAX = 1 << 20 };

static uint64_t epoch, sequence; /* of the last message that we know */
static uint8_t bytes[BYTES_MAX];

static int ask_status(void *control)
{
    Seer__Command command = SEER__COMMAND__INIT;
    Seer__Envelope envelope = SEER__ENVELOPE__INIT;
    uint8_t body[64];
    command.has_request = envelope.has_kind = envelope.has_body = 1;
    command.request = 1;
    command.name = "status";
    command.arguments = "";
    envelope.kind = COMMAND;
    envelope.body = (ProtobufCBinaryData){seer__command__pack(&command, body), body};
    zmq_send(control, bytes, seer__envelope__pack(&envelope, bytes), 0);
    int length = zmq_recv(control, bytes, sizeof(bytes), 0);
    Seer__Envelope *answer =
        length < 0 ? NULL : seer__envelope__unpack(NULL, (size_t)length, bytes);
    Seer__Reply *reply =
        answer == NULL ? NULL : seer__reply__unpack(NULL, answer->body.len, answer->body.data);
    json_t *status = reply == NULL ? NULL : json_loads(reply->body, 0, NULL);
    json_t *feed = json_object_get(status, "feed");
    epoch = (uint64_t)json_integer_value(json_object_get(feed, "epoch"));
    sequence = (uint64_t)json_integer_value(json_object_get(feed, "sequence"));
    int is_there = json_is_object(feed);
    json_decref(status);
    seer__reply__free_unpacked(reply, NULL);
    seer__envelope__free_unpacked(answer, NULL);
    return is_there;
}

static const struct kind {
    const char *topic;
    const ProtobufCMessageDescriptor *type;
} kinds[] = {
    {"step", &seer__feed_step__descriptor},         {"worker", &seer__feed_worker__descriptor},
    {"stream", &seer__feed_stream__descriptor},     {"event", &seer__feed_event__descriptor},
    {"snapshot", &seer__feed_snapshot__descriptor}, {"server", &seer__feed_server__descriptor},
};

/* All six have an epoch and a sequence. */
static uint64_t number_of(const ProtobufCMessage *message, const char *name)
{
    uint64_t number = 0;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(message->descriptor, name);
    memcpy(&number, (const char *)message + field->offset, sizeof(number));
    return number;
}

static ProtobufCMessage *receive(void *feed, char topic[16])
{
    int topic_length = zmq_recv(feed, topic, 15, 0);
    int length = zmq_recv(feed, bytes, sizeof(bytes), 0);
    topic[topic_length < 0 || topic_length > 15 ? 0 : topic_length] = 0;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (length >= 0 && length <= BYTES_MAX && strcmp(kinds[i].topic, topic) == 0)
            return protobuf_c_message_unpack(kinds[i].type, NULL, (size_t)length, bytes);
    return NULL;
}

/* Returns whether it was told; if something is missing, asks where we are. */
static int take(const ProtobufCMessage *message, const char *topic, void *control)
{
    uint64_t its_epoch = number_of(message, "epoch"), its = number_of(message, "sequence");
    if (its_epoch < epoch || (its_epoch == epoch && its <= sequence))
        return 0; /* the snapshot had it */
    if (its_epoch != epoch || its != sequence + 1) {
        ask_status(control);
        return 0;
    }
    sequence = its;
    printf("%" PRIu64 " %" PRIu64 " %s\n", epoch, sequence, topic);
    fflush(stdout);
    return 1;
}

int main(int argc, char **argv)
{
    void *context = zmq_ctx_new();
    void *feed = zmq_socket(context, ZMQ_SUB), *control = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(feed, ZMQ_SUBSCRIBE, "", 0);
    if (argc < 3 || zmq_connect(control, argv[1]) != 0 || zmq_connect(feed, argv[2]) != 0 ||
        !ask_status(control))
        return 1;
    for (long left = argc > 3 ? strtol(argv[3], NULL, 10) : -1; left != 0;) {
        char topic[16];
        ProtobufCMessage *message = receive(feed, topic);
        if (message != NULL && take(message, topic, control))
            left--;
        if (message != NULL)
            protobuf_c_message_free_unpacked(message, NULL);
    }
    return 0;
}
