/* feed.c - the status feed. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/feed.h"

#include <string.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/endpoint.h"

struct feed {
    struct endpoint *endpoint;
    uint64_t epoch, sequence;
};

enum status feed_open(const char *address, struct gate *gate, struct feed **ret_feed)
{
    struct feed *feed = mem_zero(sizeof(*feed));
    enum status status = endpoint_publish(address, gate, &feed->endpoint);
    if (status != OK) {
        mem_free(feed);
        return status;
    }
    *ret_feed = feed;
    return OK;
}

void feed_begin(struct feed *feed, uint64_t epoch)
{
    feed->epoch = epoch;
    feed->sequence = 0;
}

uint64_t feed_sequence(const struct feed *feed)
{
    return feed->sequence;
}

void feed_close(struct feed *feed)
{
    if (feed == NULL)
        return;
    endpoint_close(feed->endpoint);
    mem_free(feed);
}

const char *feed_address(const struct feed *feed)
{
    return endpoint_address(feed->endpoint);
}

void feed_send(struct feed *feed, struct feed_message *message)
{
    struct buf packed;
    const char *topic = feed_topic(message->kind);
    void *socket = endpoint_socket(feed->endpoint);
    message->epoch = feed->epoch;
    message->sequence = ++feed->sequence;
    message->wall_ms = clock_wall_ms();
    buf_init(&packed, FEED_BYTES_MAX);
    if (feed_message_encode(message, &packed) != OK)
        log_warn("event=feed_failed topic=%s reason=\"%s\"", topic, fail_message());
    else if (zmq_send(socket, topic, strlen(topic), ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0 ||
             zmq_send(socket, packed.bytes, packed.length, ZMQ_DONTWAIT) < 0)
        log_debug("event=feed_failed topic=%s reason=\"%s\"", topic, zmq_strerror(zmq_errno()));
    buf_done(&packed);
}
