/* follower.c - hears the status feed of a run without a gap. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "server/watch/follower.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/host.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/client_key.h"
#include "proto/endpoint.h"
#include "server/run_address.h"

enum {
    ASK_AGAIN_MS = 500,      /* no answer: it was lost, or the server is another by now */
    SILENCE_MS = 5000,       /* a server speaks every second */
    MESSAGES_AT_ONCE = 4096, /* then the caller has its turn */
};

struct follower {
    const char *run, *server; /* one of them; borrowed */
    const char *key;          /* a file; may be NULL; borrowed */
    struct follower_sink sink;
    struct endpoint *control; /* NULL: nobody to ask yet */
    struct endpoint *feed;    /* NULL: no snapshot said where */
    char control_address[CONFIG_PATH_BYTES], feed_address[CONFIG_PATH_BYTES];
    int is_asking;    /* the feed is left alone until the answer is there */
    uint64_t request; /* of the question under way; 0: not sent yet */
    int64_t asked_ms, heard_ms;
    int has_snapshot;
    uint64_t epoch, sequence; /* of the last message told, or the snapshot */
    uint64_t gap_count;
    char trouble[256];
};

struct follower *follower_create(const char *run, const char *server, const char *key,
                                 struct follower_sink sink)
{
    struct follower *follower = mem_zero(sizeof(*follower));
    follower->run = run;
    follower->server = server;
    follower->key = key;
    follower->sink = sink;
    follower->is_asking = 1;
    follower->asked_ms = clock_ms() - ASK_AGAIN_MS;
    snprintf(follower->trouble, sizeof(follower->trouble), "the server was not reached yet");
    return follower;
}

void follower_destroy(struct follower *follower)
{
    if (follower == NULL)
        return;
    endpoint_close(follower->control);
    endpoint_close(follower->feed);
    mem_free(follower);
}

static void note_trouble(struct follower *follower, const char *words)
{
    snprintf(follower->trouble, sizeof(follower->trouble), "%s", words);
}

static void begin_asking(struct follower *follower)
{
    follower->is_asking = 1;
    follower->request = 0;
    follower->asked_ms = clock_ms() - ASK_AGAIN_MS;
}

/* ---- the question ---- */

static enum status find_control(struct follower *follower)
{
    struct run_address found = {0};
    struct key key;
    int has_key;
    if (follower->server != NULL)
        snprintf(found.control, sizeof(found.control), "%s", follower->server);
    else
        TRY(run_address_load(follower->run, &found));
    if (follower->control != NULL && strcmp(found.control, follower->control_address) == 0)
        return OK;
    endpoint_close(follower->control);
    follower->control = NULL;
    TRY(client_key_find(follower->key, follower->run, &key, &has_key));
    TRY(endpoint_connect(found.control, has_key ? &key : NULL, &follower->control));
    snprintf(follower->control_address, sizeof(follower->control_address), "%s", found.control);
    return OK;
}

static enum status send_question(struct follower *follower)
{
    static char name[] = "status", arguments[] = "";
    TRY(find_control(follower));
    struct message question = {.kind = MESSAGE_COMMAND,
                               .command = {host_entropy() | 1, name, arguments}};
    TRY(endpoint_send(follower->control, NULL, &question));
    follower->request = question.command.request;
    return OK;
}

/* A server that does not answer is asked again: the question is small and rare. */
static void ask_when_due(struct follower *follower)
{
    int64_t now_ms = clock_ms();
    if (!follower->is_asking && now_ms - follower->heard_ms > SILENCE_MS) {
        note_trouble(follower, "the server has said nothing for 5 s");
        begin_asking(follower);
    }
    if (!follower->is_asking || now_ms - follower->asked_ms < ASK_AGAIN_MS)
        return;
    follower->asked_ms = now_ms;
    follower->request = 0;
    if (send_question(follower) != OK)
        note_trouble(follower, fail_message());
}

static enum status subscribe(struct follower *follower, const char *address)
{
    if (follower->feed != NULL && strcmp(address, follower->feed_address) == 0)
        return OK;
    struct key key;
    int has_key;
    endpoint_close(follower->feed);
    follower->feed = NULL;
    TRY(client_key_find(follower->key, follower->run, &key, &has_key));
    TRY(endpoint_subscribe(address, has_key ? &key : NULL, &follower->feed));
    snprintf(follower->feed_address, sizeof(follower->feed_address), "%s", address);
    return OK;
}

static enum status take_snapshot(struct follower *follower, const struct message *answer)
{
    if (answer->reply.status != OK)
        return fail((enum status)answer->reply.status, "%s", answer->reply.body);
    json_t *status = json_loads(answer->reply.body, 0, NULL);
    const json_t *feed = json_object_get(status, "feed");
    const char *address = json_string_value(json_object_get(feed, "address"));
    if (address == NULL) {
        json_decref(status);
        return fail(ERR_PROTOCOL, "the server's status has no feed: is it of another version?");
    }
    enum status result = subscribe(follower, address);
    if (result == OK) {
        follower->epoch = (uint64_t)json_integer_value(json_object_get(feed, "epoch"));
        follower->sequence = (uint64_t)json_integer_value(json_object_get(feed, "sequence"));
        follower->is_asking = 0;
        follower->has_snapshot = 1;
        follower->heard_ms = clock_ms();
        follower->sink.snapshot(follower->sink.context, status);
    }
    json_decref(status);
    return result;
}

static void hear_control(struct follower *follower)
{
    struct message answer;
    while (follower->control != NULL &&
           endpoint_receive(follower->control, 0, NULL, &answer) == OK) {
        int is_ours = answer.kind == MESSAGE_REPLY && follower->request != 0 &&
                      answer.reply.request == follower->request;
        if (is_ours && take_snapshot(follower, &answer) != OK)
            note_trouble(follower, fail_message());
        if (!is_ours && answer.kind == MESSAGE_REPLY && follower->sink.reply != NULL)
            follower->sink.reply(follower->sink.context, answer.reply.request,
                                 (enum status)answer.reply.status, answer.reply.body);
        message_done(&answer);
    }
}

/* ---- the feed ---- */

/* Tells it, skips it, or finds that something is missing. */
static void take_message(struct follower *follower, const struct feed_message *message)
{
    follower->heard_ms = clock_ms();
    if (message->epoch < follower->epoch ||
        (message->epoch == follower->epoch && message->sequence <= follower->sequence))
        return; /* the snapshot had it */
    if (message->epoch > follower->epoch || message->sequence != follower->sequence + 1) {
        follower->gap_count += message->epoch == follower->epoch;
        begin_asking(follower);
        return;
    }
    follower->sequence = message->sequence;
    follower->sink.message(follower->sink.context, message);
}

/* 0: nothing there. */
static int receive_message(struct follower *follower)
{
    zmq_msg_t topic, body;
    void *socket = endpoint_socket(follower->feed);
    zmq_msg_init(&topic);
    zmq_msg_init(&body);
    int is_there = zmq_msg_recv(&topic, socket, ZMQ_DONTWAIT) >= 0;
    int is_whole = is_there && zmq_msg_more(&topic) && zmq_msg_recv(&body, socket, 0) >= 0;
    struct feed_message message;
    if (is_whole && feed_message_decode(zmq_msg_data(&topic), zmq_msg_size(&topic),
                                        zmq_msg_data(&body), zmq_msg_size(&body), &message) == OK) {
        take_message(follower, &message);
        feed_message_done(&message);
    } else if (is_there) {
        log_debug("event=feed_garbled reason=\"%s\"", fail_message());
    }
    while (is_there && zmq_msg_more(is_whole ? &body : &topic) &&
           zmq_msg_recv(&body, socket, 0) >= 0)
        is_whole = 1; /* frames of nobody we know */
    zmq_msg_close(&topic);
    zmq_msg_close(&body);
    return is_there;
}

static void hear_feed(struct follower *follower)
{
    for (int i = 0; i < MESSAGES_AT_ONCE && !follower->is_asking && follower->feed != NULL; i++)
        if (!receive_message(follower))
            break;
}

enum status follower_wait(struct follower *follower, int fd, int timeout_ms)
{
    zmq_pollitem_t items[3];
    int count = 0;
    ask_when_due(follower);
    if (fd >= 0)
        items[count++] = (zmq_pollitem_t){.fd = fd, .events = ZMQ_POLLIN};
    if (follower->control != NULL)
        items[count++] =
            (zmq_pollitem_t){.socket = endpoint_socket(follower->control), .events = ZMQ_POLLIN};
    /* Asking, what comes waits in the socket: it belongs behind the answer. */
    if (follower->feed != NULL && !follower->is_asking)
        items[count++] =
            (zmq_pollitem_t){.socket = endpoint_socket(follower->feed), .events = ZMQ_POLLIN};
    if (follower->is_asking && timeout_ms > ASK_AGAIN_MS / 5)
        timeout_ms = ASK_AGAIN_MS / 5;
    if (zmq_poll(items, count, timeout_ms) < 0 && errno != EINTR)
        return fail(ERR_IO, "cannot wait for the feed: %s", zmq_strerror(errno));
    hear_control(follower);
    hear_feed(follower);
    return OK;
}

enum status follower_order(struct follower *follower, const char *command, const char *arguments,
                           uint64_t *ret_request)
{
    TRY(find_control(follower));
    struct message order = {
        .kind = MESSAGE_COMMAND,
        .command = {host_entropy() | 1, (char *)(uintptr_t)command, (char *)(uintptr_t)arguments}};
    TRY(endpoint_send(follower->control, NULL, &order));
    *ret_request = order.command.request;
    return OK;
}

int follower_is_live(const struct follower *follower)
{
    return follower->has_snapshot && clock_ms() - follower->heard_ms < SILENCE_MS;
}

const char *follower_trouble(const struct follower *follower)
{
    return follower->trouble;
}

uint64_t follower_gaps(const struct follower *follower)
{
    return follower->gap_count;
}
