/* gatekeeper.c - a REP socket at the address that ZeroMQ asks. */
/* SPDX-License-Identifier: Apache-2.0
 * SPDX-FileCopyrightText: The everseer authors */
#include "proto/gatekeeper.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/thread.h"

enum {
    FRAMES = 8,        /* that a question has at most; RFC 27 */
    FRAME_BYTES = 256, /* the longest: an identity */
    KEY_BYTES = 32,
    LOG_MS = 10000, /* strangers at the door fill no disk */
};

/* Frames of a question, in their order. */
enum { VERSION, REQUEST, DOMAIN_NAME, ADDRESS, IDENTITY, MECHANISM, CREDENTIALS };

struct question {
    int count;
    size_t lengths[FRAMES];
    uint8_t frames[FRAMES][FRAME_BYTES + 1]; /* each ends in a 0 */
};

struct gatekeeper {
    struct gate *gate;
    void *socket;
    struct thread thread;
    int64_t log_ms; /* of the last line about a stranger */
};

static int has_more(void *socket)
{
    int more = 0;
    size_t length = sizeof(more);
    zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &length);
    return more;
}

/* Returns 0 when the context ends. A frame or a count beyond what there can be spoils the question.
 */
static int take_question(void *socket, struct question *question)
{
    uint8_t spare[FRAME_BYTES];
    int is_good = 1;
    *question = (struct question){0};
    do {
        int has_room = question->count < FRAMES;
        int length =
            zmq_recv(socket, has_room ? question->frames[question->count] : spare, FRAME_BYTES, 0);
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return 0;
        is_good &= has_room && length <= FRAME_BYTES;
        if (has_room)
            question->lengths[question->count++] = (size_t)length;
    } while (has_more(socket));
    if (!is_good)
        question->count = 0;
    return 1;
}

static int is_let_in(struct gatekeeper *keeper, const struct question *question,
                     char public[KEY_TEXT_BYTES])
{
    struct key key;
    if (question->count <= CREDENTIALS || question->lengths[CREDENTIALS] != KEY_BYTES ||
        strcmp((const char *)question->frames[VERSION], "1.0") != 0 ||
        strcmp((const char *)question->frames[MECHANISM], "CURVE") != 0)
        return 0;
    zmq_z85_encode(public, question->frames[CREDENTIALS], KEY_BYTES);
    gate_look(keeper->gate);
    return gate_find(keeper->gate, public, &key);
}

static void note_refusal(struct gatekeeper *keeper, const struct question *question,
                         const char *public)
{
    int64_t now_ms = clock_ms();
    gate_count_refusal(keeper->gate);
    if (keeper->log_ms != 0 && now_ms - keeper->log_ms < LOG_MS)
        return;
    keeper->log_ms = now_ms;
    log_warn("event=stranger_refused from=%s key=\"%s\" refused=%llu hint=\"seer key allow\"",
             question->count > ADDRESS ? (const char *)question->frames[ADDRESS] : "?", public,
             (unsigned long long)gate_refused(keeper->gate));
}

static void send_text(void *socket, const char *text, int flags)
{
    zmq_send(socket, text, strlen(text), flags);
}

static void answer(void *socket, const struct question *question, int is_good, const char *public)
{
    send_text(socket, "1.0", ZMQ_SNDMORE);
    zmq_send(socket, question->frames[REQUEST], question->lengths[REQUEST], ZMQ_SNDMORE);
    send_text(socket, is_good ? "200" : "400", ZMQ_SNDMORE);
    send_text(socket, is_good ? "" : "this key is not let in", ZMQ_SNDMORE);
    send_text(socket, is_good ? public : "", ZMQ_SNDMORE);
    zmq_send(socket, "", 0, 0);
}

static void keep(void *argument)
{
    struct gatekeeper *keeper = argument;
    struct question question;
    while (take_question(keeper->socket, &question)) {
        char public[KEY_TEXT_BYTES] = "?";
        int is_good = is_let_in(keeper, &question, public);
        if (!is_good)
            note_refusal(keeper, &question, public);
        answer(keeper->socket, &question, is_good, public);
    }
    zmq_close(keeper->socket);
}

enum status gatekeeper_start(void *context, struct gate *gate, struct gatekeeper **ret_gatekeeper)
{
    struct gatekeeper *keeper = mem_zero(sizeof(*keeper));
    enum status status = OK;
    int linger = 0;
    keeper->gate = gate;
    keeper->socket = zmq_socket(context, ZMQ_REP);
    if (keeper->socket == NULL ||
        zmq_setsockopt(keeper->socket, ZMQ_LINGER, &linger, sizeof(linger)) != 0 ||
        zmq_bind(keeper->socket, "inproc://zeromq.zap.01") != 0)
        status = fail(ERR_IO, "cannot answer for who may connect: %s", zmq_strerror(errno));
    if (status == OK)
        status = thread_start(&keeper->thread, "gatekeeper", keep, keeper);
    if (status != OK) {
        if (keeper->socket != NULL)
            zmq_close(keeper->socket);
        mem_free(keeper);
        return status;
    }
    *ret_gatekeeper = keeper;
    return OK;
}

void gatekeeper_join(struct gatekeeper *gatekeeper)
{
    if (gatekeeper == NULL)
        return;
    thread_stop(&gatekeeper->thread);
    mem_free(gatekeeper);
}
